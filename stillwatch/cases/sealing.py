"""Ed25519 signatures [1]_ over the state of a case, and time stamps over such signatures [2]_.

The key is derived from the key of the workspace, or a PEM file that was given. Whoever holds it can sign anything, a
rewritten case included; what such a person cannot do is change a head or a time stamp that somebody else has noted.

.. [1] Josefsson and Liusvaara, RFC 8032, "Edwards-Curve Digital Signature Algorithm", section 5.1.
.. [2] Adams et al., RFC 3161, "Internet X.509 PKI Time-Stamp Protocol", section 2.4.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwatch import extras
from stillwatch.cases.chain import canonical
from stillwatch.errors import InputError, IntegrityError
from stillwatch.records import Seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LABEL = "cases/seal"
"""What the sealing key is derived for."""

_HASHES: dict[str, Callable[[bytes], Any]] = {
    "2.16.840.1.101.3.4.2.1": hashlib.sha256,
    "2.16.840.1.101.3.4.2.2": hashlib.sha384,
    "2.16.840.1.101.3.4.2.3": hashlib.sha512,
}
"""Object identifier -> hash, of those that a time stamp may be made with."""
_MAX_FILE = 1 << 20


class Signer:
    """One private key. Neither its repr nor any error shows it."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw().hex()
        """Raw, hexadecimal."""

    @classmethod
    def derived(cls, derive: Callable[[str], bytes]) -> Signer:
        """The key of a workspace: ``Signer.derived(Keys(path).derive)``."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(derive(LABEL)))

    @classmethod
    def of_pem(cls, path: Path) -> Signer:
        """The key in a PEM file, such as ``openssl genpkey -algorithm ed25519`` writes.

        Raises
        ------
        InputError
            It can be read by others than its owner, is encrypted, or holds no Ed25519 private key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        data = _file(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise InputError(
                f"{path}: the key can be read by others (mode {mode:04o}); repair with: chmod 600 {path}"
            )
        try:
            key = load_pem_private_key(data, password=None)
        except TypeError:
            raise InputError(f"{path}: the key is encrypted; give one without a password") from None
        except (ValueError, UnsupportedAlgorithm):
            raise InputError(f"{path}: no private key in PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(f"{path}: no Ed25519 key; make one with: openssl genpkey -algorithm ed25519")
        return cls(key)

    def sign(self, values: Mapping[str, Any]) -> str:
        """Signature over the canonical JSON of the values, hexadecimal."""
        return self._key.sign(canonical(values)).hex()

    def __repr__(self) -> str:
        return f"Signer({fingerprint(self.public_key)})"


def check_signature(public_key: str, signature: str, values: Mapping[str, Any], item: str) -> None:
    """The signature over these values is by this key.

    Raises
    ------
    IntegrityError
        It is not; `item` says what was signed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw, signed = bytes.fromhex(public_key), bytes.fromhex(signature)
        # One signature has one spelling, or a changed letter would go unnoticed.
        if (raw.hex(), signed.hex()) != (public_key, signature):
            raise ValueError("not in lower case")
        Ed25519PublicKey.from_public_bytes(raw).verify(signed, canonical(values))
    except (InvalidSignature, ValueError):
        raise IntegrityError(
            f"{item}: the signature", f"by the key {public_key[:64]} over what stands here", "another"
        ) from None


def public_key_of(text: str) -> str:
    """A public key as somebody typed it.

    Raises
    ------
    InputError
        It is not 32 bytes in hexadecimal.
    """
    key = text.strip().lower()
    if len(key) != 64 or set(key) - set("0123456789abcdef"):
        raise InputError(f"a public key has 64 hexadecimal digits, found {text[:80]!r}")
    return key


def fingerprint(public_key: str) -> str:
    """A short form of a public key to compare by eye or over the telephone: the first 80 bits of its sha256.

    Examples
    --------
    >>> fingerprint("00" * 32)
    '6668-7aad-f862-bd77-6c8f'

    "Does your screen show 6668-7aad-f862-bd77-6c8f as well?"
    """
    digits = hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:20]
    return "-".join(digits[i : i + 4] for i in range(0, 20, 4))


def signed_values(seal: Seal) -> dict[str, Any]:
    """What the signature of a seal is over: its other fields but the time stamp."""
    return {k: v for k, v in asdict(seal).items() if k not in ("signature", "timestamp")}


def make_seal(signer: Signer, *, case: str, seq: int, head: str, at: str, by: str) -> Seal:
    """A seal over the state of a case after entry `seq`, whose digest is `head`."""
    values = {"case": case, "seq": seq, "head": head, "at": at, "by": by, "public_key": signer.public_key}
    return Seal(**values, signature=signer.sign(values))  # type: ignore[arg-type]


def check_seal(seal: Seal, item: str) -> None:
    """The signature of a seal is by the key that it names.

    Raises
    ------
    IntegrityError
        It is not.
    """
    check_signature(seal.public_key, seal.signature, signed_values(seal), item)


def head_values(case: str, seq: int, head: str, public_key: str, imports: str = "") -> dict[str, Any]:
    """What a store signs after every write: which entry is the last, and the digest of the list of imports, if any."""
    values = {"what": "head", "case": case, "seq": seq, "head": head, "public_key": public_key}
    return {**values, "imports": imports} if imports else values


def check_timestamp(token: bytes, signature: str, roots: Sequence[Path] = ()) -> tuple[str, str]:
    """An RFC 3161 time stamp is over this signature; its time, and the base64 under which it is kept.

    Parameters
    ----------
    token
        A time-stamp response (``.tsr``) or the bare token, DER.
    signature
        Of the seal, hexadecimal. The stamp must be over these 64 bytes (SHA-256, SHA-384 or SHA-512).
    roots
        PEM files with root certificates of the time-stamping authority. Without them only the imprint is checked: that
        the stamp speaks of this seal, not who made it.

    Raises
    ------
    MissingExtra
        ``stillwatch[timestamp]`` is not installed.
    InputError
        It is no time stamp.
    IntegrityError
        It is over something else, or not made by one of these authorities.
    """
    library = extras.need("rfc3161_client")
    item = "the time stamp"
    try:
        response = library.decode_timestamp_response(token)
    except ValueError:
        try:
            response = library.decode_timestamp_response(_as_response(token))
        except ValueError:
            raise InputError("the time stamp is neither an RFC 3161 response nor a token in DER") from None
    imprint = response.tst_info.message_imprint
    oid = imprint.hash_algorithm.dotted_string
    if oid not in _HASHES:
        raise InputError(f"the time stamp uses the hash {oid}; ask for one with SHA-256")
    expected = _HASHES[oid](bytes.fromhex(signature)).digest()
    if imprint.message != expected:
        raise IntegrityError(item, f"{expected.hex()} of the seal's signature", imprint.message.hex())
    if roots:
        _check_authority(library, response, expected, roots)
    return response.tst_info.gen_time.isoformat(), base64.b64encode(token).decode()


def timestamp_file(path: Path) -> bytes:
    """The bytes of a time-stamp file, of a size that such files have.

    Raises
    ------
    InputError
        It cannot be read or is too large.
    """
    return _file(path)


def timestamp_bytes(text: str, item: str) -> bytes:
    """The time stamp that a seal holds as base64.

    Raises
    ------
    IntegrityError
        It is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise IntegrityError(f"{item}: the time stamp", "in base64", "something else") from None


def _check_authority(library: Any, response: Any, expected: bytes, roots: Sequence[Path]) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    builder = library.VerifierBuilder()
    for path in roots:
        try:
            certificates = load_pem_x509_certificates(_file(path))
        except ValueError:
            raise InputError(f"{path}: no certificate in PEM") from None
        for certificate in certificates:
            builder = builder.add_root_certificate(certificate)
    try:
        builder.build().verify(response, expected)
    except library.VerificationError as problem:
        raise IntegrityError("the time stamp", "of one of these authorities", str(problem)) from None


def _as_response(token: bytes) -> bytes:
    """A bare token in the response that it came in: status granted, RFC 3161 section 2.4.2."""
    body = b"\x30\x03\x02\x01\x00" + token
    size = len(body)
    length = (
        bytes([size])
        if size < 128
        else bytes([0x80 + (n := (size.bit_length() + 7) // 8)]) + size.to_bytes(n)
    )
    return b"\x30" + length + body


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from problem
    if len(data) > _MAX_FILE:
        raise InputError(
            f"{path}: larger than {_MAX_FILE >> 20} MiB, so it is neither a key nor a time stamp"
        )
    return data
