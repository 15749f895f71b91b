"""One master key, and from it the key of every mark: by tenant, rung, suspected campaign and epoch.

If a student turns up, the key that lights up says through which accounts the text left, so every scope has a key of
its own. All are derived with HKDF-SHA256 (RFC 5869) from one master, so that nothing but the master is to be kept:
a key that leaks opens no other, and the key of a scope is the same on every machine that holds the master.

A key goes to an engine and to a reader, and nowhere else. The objects here show a fingerprint where they are
printed; they cannot be pickled or written as JSON; `MarkKey.reveal` is the one door, easy to search for.
"""

from __future__ import annotations

import hmac
import json
import shlex
import subprocess
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from stillwatch.errors import InputError
from stillwatch.identity.keys import Keys
from stillwatch.marks.key_shapes import Shape, shape_of

SECRET_BYTES = 32
LONGEST = 200
"""Characters of one part of a scope."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a key serves. Empty parts mean "all"; two scopes are one exactly when all four parts are equal.

    Raises
    ------
    InputError
        A part is longer than `LONGEST`, has control characters, or begins or ends with a space.
    """

    tenant: str = ""
    """A pseudonym, such as ``o-0123456789abcdef``; never a customer's name."""
    rung: str = ""
    """Step of the ladder of countermeasures on which the accounts stand."""
    campaign: str = ""
    """Suspected campaign, such as ``c-7f3a104b``."""
    epoch: str = ""
    """Such as ``2026-12``; a new epoch is a new key."""

    def __post_init__(self) -> None:
        for name, given in asdict(self).items():
            # Two spellings of one name would be two keys.
            part = unicodedata.normalize("NFC", given)
            if len(part) > LONGEST or part != part.strip() or not part.isprintable():
                raise InputError(
                    f"{name} of a scope: expected at most {LONGEST} printable characters without spaces around "
                    f"them, found {given[:40]!r}"
                )
            object.__setattr__(self, name, part)

    def __str__(self) -> str:
        return " ".join(f"{name}={part}" for name, part in asdict(self).items() if part) or "everybody"


class _Secret:
    """What must not leave by accident: no pickle, and a copy is the thing itself."""

    __slots__ = ()

    def __copy__(self) -> _Secret:
        return self

    def __deepcopy__(self, memo: object) -> _Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise InputError("a key is not pickled; hand on the path of the master key and the scope instead")


class MarkKey(_Secret):
    """The key of one scheme in one scope. Equal when the fingerprints are.

    Attributes
    ----------
    scheme
        Name of the scheme.
    scope
        Whom it serves.
    fingerprint
        16 hexadecimal digits. Keyed with the master, so that a key of 32 bits cannot be found by trying all.
    decoy
        None for a key that may serve; else the number of a decoy, which never does.
    """

    __slots__ = ("_integers", "decoy", "fingerprint", "scheme", "scope")

    def __init__(
        self, scheme: str, scope: Scope, fingerprint: str, integers: tuple[int, ...], decoy: int | None = None
    ) -> None:
        self.scheme, self.scope, self.fingerprint, self.decoy = scheme, scope, fingerprint, decoy
        self._integers = integers

    def reveal(self) -> tuple[int, ...]:
        """The integers that the engine takes: one, or as many as the scheme's `Shape` says."""
        return self._integers

    def as_read(self) -> int | tuple[int, ...]:
        """The key as a scheme's `read` and `test` take it: an integer, or a tuple where it is several."""
        return self._integers[0] if len(self._integers) == 1 else self._integers

    def __repr__(self) -> str:
        kind = "" if self.decoy is None else f", decoy {self.decoy}"
        return f"MarkKey({self.scheme}, {self.scope}, {self.fingerprint}{kind})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MarkKey) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)


class Master(_Secret):
    """The one secret behind every mark, from a file or from a key management service.

    Made with `Master.create`, `Master.from_file` or `Master.from_command`.
    """

    __slots__ = ("_secret", "fingerprint")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise InputError(f"a master key has {SECRET_BYTES} bytes, found {len(secret)}")
        self._secret = secret
        self.fingerprint = self.secret("fingerprint")[:8].hex()
        """16 hexadecimal digits; they name the master and say nothing about it."""

    @classmethod
    def create(cls, path: Path) -> Master:
        """A new master key in a new file of mode 0600.

        Raises
        ------
        InputError
            The file exists: a master key is never overwritten, or what it marked could not be read again.
        """
        if path.exists():
            raise InputError(f"{path}: there is a file already; a master key is never overwritten")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(Keys(path).derive("marks"))
        except OSError as problem:
            raise InputError(f"{path}: the key cannot be written: {problem.strerror}") from None

    @classmethod
    def from_file(cls, path: Path) -> Master:
        """The master key of a file.

        Raises
        ------
        InputError
            There is none, others can read it, or it has not the length of a key.
        """
        if not path.exists():
            raise InputError(f"{path}: there is no master key; draw one with: stillwatch watermark key new")
        try:
            return cls(Keys(path).derive("marks"))
        except PermissionError as problem:
            raise InputError(f"{path}: the key cannot be read: {problem.strerror}") from None

    @classmethod
    def from_command(cls, command: str, *, seconds: float = 60) -> Master:
        """The master key that a command prints once, as at least 64 hexadecimal digits, such as a call of a KMS.

        The command runs without a shell. Nothing that it prints, on either stream, reaches a message.

        Raises
        ------
        InputError
            It cannot be started, fails, takes too long, or prints something else.
        """
        secret, problem = _printed(command, seconds)
        if secret is None:
            raise InputError(f"the command for the master key {problem}; run it by hand to see why")
        return cls(secret)

    def secret(self, label: str) -> bytes:
        """32 bytes for one purpose; the same label always gives the same bytes, another label unrelated ones."""
        return _hkdf(self._secret, b"stillwatch/marks/" + label.encode())

    def key(self, scheme: str, scope: Scope, shape: Shape | None = None) -> MarkKey:
        """The key of a scheme in a scope.

        Parameters
        ----------
        scheme
            Name of the scheme, a module of `stillwatch.marks.schemes`.
        scope
            Whom it serves.
        shape
            How many integers of how many bits; that of the scheme if not given.
        """
        return self._derive(scheme, scope, None, shape or shape_of(scheme))

    def decoys(
        self, scheme: str, scope: Scope, number: int, *, first: int = 0, shape: Shape | None = None
    ) -> tuple[MarkKey, ...]:
        """Keys drawn exactly as the true key of the scope is, which never serve anybody.

        They are the null of a test: the true key is ranked among them on the same pairs. The same numbers always
        give the same keys, so the null cannot be drawn again until it suits.

        Parameters
        ----------
        number
            How many, at least 1; 200 or more for a verdict.
        first
            Number of the first one.
        """
        if number < 1 or first < 0:
            raise InputError(f"decoys: expected a number of 1 or more from 0 on, found {number} from {first}")
        shape = shape or shape_of(scheme)
        return tuple(self._derive(scheme, scope, n, shape) for n in range(first, first + number))

    def _derive(self, scheme: str, scope: Scope, decoy: int | None, shape: Shape) -> MarkKey:
        drawn: list[int] = []
        seen: set[int] = set()
        draw = 0
        while len(drawn) < shape.count:
            label = _label("key", scheme, asdict(scope), decoy, len(drawn), draw)
            number = shape.fit(_hkdf(self._secret, label))
            draw += 1
            if shape.usable(number, seen):
                drawn.append(number)
                seen.add(shape.seen_as(number))
                draw = 0
        # Over the integers too: another shape of one scheme is another key.
        said = _label("fingerprint", scheme, asdict(scope), decoy, drawn)
        fingerprint = hmac.digest(self.secret("key fingerprints"), said, "sha256")[:8].hex()
        return MarkKey(scheme, scope, fingerprint, tuple(drawn), decoy)

    def __repr__(self) -> str:
        return f"Master({self.fingerprint})"


def _label(*parts: object) -> bytes:
    """One spelling of what a key is for: no choice of parts runs into another."""
    return json.dumps(["stillwatch/marks/1", *parts], sort_keys=True, separators=(",", ":")).encode()


def _hkdf(secret: bytes, info: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=hashes.SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(secret)


def _printed(command: str, seconds: float) -> tuple[bytes | None, str]:
    """The master secret that a command prints, or what is wrong with it in words that hold nothing it printed.

    Raises nothing itself, so that no frame that is kept with an error has what was printed.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return None, "has quotes that do not match"
    if not words:
        return None, "is empty"
    name = repr(Path(words[0]).name)
    try:
        done = subprocess.run(
            words, capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as problem:
        return None, f"{name} cannot be started: {problem.strerror}"
    except subprocess.TimeoutExpired:
        return None, f"{name} took more than {seconds:g} seconds"
    if done.returncode:
        return None, f"{name} ended with code {done.returncode}"
    try:
        printed = bytes.fromhex(done.stdout.decode("ascii").strip())
    except ValueError:
        return None, f"{name} printed something else than one hexadecimal number"
    if len(printed) < SECRET_BYTES:
        return None, f"{name} printed {len(printed)} bytes, fewer than {SECRET_BYTES}"
    return _hkdf(printed, b"stillwatch/marks/master"), ""
