"""Signatures over a case, and time stamps over signatures."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from store_samples import filled

from stillwatch import extras
from stillwatch.cases import sealing
from stillwatch.cases.sealing import Signer, check_seal, check_signature, fingerprint, make_seal
from stillwatch.cases.store import CaseStore
from stillwatch.errors import InputError, IntegrityError, MissingExtra
from stillwatch.identity import Keys

Stamp = Callable[[bytes], bytes]


def pem(path: Path, key: object = None, password: bytes = b"") -> Path:
    made = key or ed25519.Ed25519PrivateKey.generate()
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    data = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)  # type: ignore[attr-defined]
    path.touch(0o600)
    path.write_bytes(data)
    return path


def test_the_key_of_a_workspace_is_always_the_same(tmp_path: Path) -> None:
    first = Signer.derived(Keys(tmp_path / "key").derive)
    assert Signer.derived(Keys(tmp_path / "key").derive).public_key == first.public_key
    assert first.public_key != Signer.derived(Keys(tmp_path / "other").derive).public_key
    check_signature(first.public_key, first.sign({"a": 1}), {"a": 1}, "x")


def test_a_signature_is_over_these_values_by_this_key_in_one_spelling() -> None:
    signer, other = (Signer(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
    signature = signer.sign({"a": 1})
    for key, made, values in (
        (other.public_key, signature, {"a": 1}),
        (signer.public_key, signature, {"a": 2}),
        (signer.public_key, signature.upper(), {"a": 1}),
        (signer.public_key.upper(), signature, {"a": 1}),
        (signer.public_key, " " + signature, {"a": 1}),
        (signer.public_key, "", {"a": 1}),
        ("", signature, {"a": 1}),
        ("zz", signature, {"a": 1}),
    ):
        with pytest.raises(IntegrityError, match="x: the signature"):
            check_signature(key, made, values, "x")


@pytest.mark.parametrize("field", ["case", "seq", "head", "at", "by", "public_key"])
def test_a_seal_covers_every_field(field: str) -> None:
    signer = Signer(ed25519.Ed25519PrivateKey.generate())
    seal = make_seal(signer, case="C-1", seq=3, head="ab" * 32, at="2026-11-24", by="ann")
    check_seal(seal, "x")
    changed = 4 if field == "seq" else Signer(ed25519.Ed25519PrivateKey.generate()).public_key
    with pytest.raises(IntegrityError):
        check_seal(replace(seal, **{field: changed}), "x")
    check_seal(replace(seal, timestamp="AA=="), "x")  # it comes after the signature


def test_a_key_of_ones_own(tmp_path: Path, lite: CaseStore) -> None:
    signer = Signer.of_pem(pem(tmp_path / "k.pem"))
    case = filled(lite)
    seal = lite.seal(case, by="ann", signer=signer)
    assert seal.public_key == signer.public_key != lite.public_key
    assert lite.verify(case, public_key=signer.public_key).pinned
    assert Signer.of_pem(tmp_path / "k.pem").public_key == signer.public_key


def test_a_key_from_openssl(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    path = tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True
    )
    path.chmod(0o600)
    assert len(Signer.of_pem(path).public_key) == 64


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    key = pem(tmp_path / "open.pem")
    key.chmod(0o644)
    locked = pem(tmp_path / "locked.pem", password=b"s3cret")
    other = pem(tmp_path / "rsa.pem", rsa.generate_private_key(65537, 2048))
    none = tmp_path / "none.pem"
    none.touch(0o600)
    none.write_bytes(b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n")
    for path, words in (
        (key, "chmod 600"),
        (locked, "is encrypted"),
        (other, "no Ed25519 key"),
        (none, "no private key in PEM"),
        (tmp_path / "nothing", "No such file"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            Signer.of_pem(path)
        assert "MC4C" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_a_signer_does_not_show_its_key() -> None:
    secret = ed25519.Ed25519PrivateKey.generate()
    signer = Signer(secret)
    assert secret.private_bytes_raw().hex() not in repr(signer)
    assert repr(signer) == f"Signer({fingerprint(signer.public_key)})"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stamp]:
    """Certificate of a time-stamping authority that openssl plays, and what it does."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "ext").write_text("extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:FALSE\n")
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        f"[tsa]\nserial={folder}/serial\nsigner_cert={folder}/tsa.pem\nsigner_key={folder}/tsa.key\n"
        "signer_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256,sha384,sha512\nordering=no\n"
    )

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=Root",
    )
    openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Stamps"
    )
    openssl(
        "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext",
        "-out", "tsa.pem",
    )  # fmt: skip

    def stamp(data: bytes) -> bytes:
        (folder / "data").write_bytes(data)
        openssl("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "q.tsq")
        openssl(
            "ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", "-queryfile", "q.tsq", "-out", "r.tsr"
        )
        return (folder / "r.tsr").read_bytes()

    return folder / "ca.pem", stamp


def test_a_time_stamp_over_a_seal(store: CaseStore, authority: tuple[Path, Stamp], tmp_path: Path) -> None:
    root, stamp = authority
    case = filled(store)
    seal = store.get(case).seals[0]
    token = stamp(bytes.fromhex(seal.signature))
    stamped, moment = store.stamp(case, token, by="ann", roots=[root])
    assert base64.b64decode(stamped.timestamp) == token
    assert moment.startswith("20")
    assert store.get(case).seals == (replace(seal, timestamp=stamped.timestamp),)
    assert store.get(case).status == "sealed"
    found = store.verify(case)
    assert any("a time stamp of 20" in note for note in found.notes)
    store.export(case, tmp_path / "c.zip", by="ann")


def test_a_time_stamp_over_something_else(
    lite: CaseStore, authority: tuple[Path, Stamp], tmp_path: Path
) -> None:
    root, stamp = authority
    case = filled(lite)
    entries = lite.verify(case).entries
    with pytest.raises(IntegrityError, match="of the seal's signature"):
        lite.stamp(case, stamp(b"something else"), by="ann")
    with pytest.raises(InputError, match="neither an RFC 3161 response nor a token"):
        lite.stamp(case, b"no stamp at all", by="ann")
    good = stamp(bytes.fromhex(lite.get(case).seals[0].signature))
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "o.key", "-out", other,
         "-subj", "/CN=Other"], check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="of one of these authorities"):
        lite.stamp(case, good, by="ann", roots=[other])
    with pytest.raises(InputError, match="no certificate in PEM"):
        lite.stamp(case, good, by="ann", roots=[tmp_path / "o.key"])
    assert lite.verify(case).entries == entries
    empty = lite.open("Two").id
    with pytest.raises(InputError, match="has no seal to stamp"):
        lite.stamp(empty, good, by="ann")
    assert root.exists()


def test_a_bare_token_is_taken_too(authority: tuple[Path, Stamp]) -> None:
    _, stamp = authority
    signature = b"s" * 64
    reply = stamp(signature)
    library = extras.need("rfc3161_client")
    bare = library.decode_timestamp_response(reply).time_stamp_token()
    assert bare != reply
    first = sealing.check_timestamp(reply, signature.hex())
    assert sealing.check_timestamp(bare, signature.hex())[0] == first[0]


def test_without_the_extra_a_stamp_is_kept_and_said_to_be_unchecked(
    lite: CaseStore, authority: tuple[Path, Stamp], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stamp = authority
    case = filled(lite)
    lite.stamp(case, stamp(bytes.fromhex(lite.get(case).seals[0].signature)), by="ann")
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    assert any("was not checked: rfc3161_client is not installed" in n for n in lite.verify(case).notes)
    with pytest.raises(MissingExtra, match=r"stillwatch\[timestamp\]"):
        lite.stamp(case, b"x", by="ann")


def test_a_seal_is_what_its_record_says(lite: CaseStore) -> None:
    case = filled(lite)
    seal = lite.get(case).seals[0]
    values = {k: v for k, v in asdict(seal).items() if k not in ("signature", "timestamp")}
    check_signature(seal.public_key, seal.signature, values, "x")
    assert (seal.case, seal.by) == (case, "ann")
    assert seal.seq == lite.verify(case).entries - 1
