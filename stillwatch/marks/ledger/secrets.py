"""Keys of one ledger, all from the master, and how text and tokens are sealed.

A segment's key is HMAC-SHA256, under a key of the master, of 32 random bytes: the salt, in a file of its own. Whoever
destroys it destroys the text of that segment for everybody, the holder of the master included; digests and chain stay.
"""

from __future__ import annotations

import hashlib
import hmac

from stillwatch.errors import IntegrityError
from stillwatch.marks.keys import Master

SALT_BYTES = 32
NONCE_BYTES = 12


class Secrets:
    """The keys of the ledger with this id."""

    __slots__ = ("_text", "chain", "digest", "head", "pick", "shingle")

    def __init__(self, master: Master, ledger_id: str) -> None:
        def secret(purpose: str) -> bytes:
            return master.secret(f"ledger/{purpose}/{ledger_id}")

        self.chain = secret("chain")
        self.head = secret("head")
        self.pick = secret("pick")
        self._text = secret("text")
        # Not by ledger: the same text has to be found in every ledger of one master.
        self.digest = master.secret("ledger/digest")
        self.shingle = master.secret("ledger/shingle")

    def text_digest(self, text: bytes) -> bytes:
        """32 bytes; equal texts, byte for byte, have equal ones."""
        return hmac.digest(self.digest, b"text\0" + text, "sha256")

    def token_digest(self, tokens: bytes) -> bytes:
        """32 bytes, of token ids as 4 bytes each."""
        return hmac.digest(self.digest, b"tokens\0" + tokens, "sha256")

    def conversation(self, name: bytes) -> str:
        """32 hexadecimal digits; the same name has the same ones in every ledger of one master."""
        return hmac.digest(self.digest, b"conversation\0" + name, "sha256")[:16].hex()

    def link(self, previous: bytes, record: bytes) -> bytes:
        """What chains a record to the one before: HMAC-SHA256, 32 bytes."""
        return hmac.digest(self.chain, previous + record, "sha256")

    def segment(self, number: int, salt: bytes) -> Sealer:
        """What seals text and tokens of one segment."""
        key = hmac.digest(self._text, salt + number.to_bytes(8, "big"), hashlib.sha256)
        return Sealer(key)

    def __repr__(self) -> str:
        return "Secrets(...)"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("keys are not pickled")


class Sealer:
    """AES-256-GCM under the key of one segment; nonces are random, for at most 2**32 answers."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)

    def seal(self, nonce: bytes, content: bytes, bound: bytes) -> tuple[bytes, bytes]:
        """Encrypted content and its tag, bound to the rest of the record."""
        sealed = self._cipher.encrypt(nonce, content, bound)
        return sealed[:-16], sealed[-16:]

    def open(self, nonce: bytes, sealed: bytes, tag: bytes, bound: bytes, item: str) -> bytes:
        """The content.

        Raises
        ------
        IntegrityError
            It was changed, or belongs to another record.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, sealed + tag, bound)
        except InvalidTag:
            raise IntegrityError(f"{item}: kept text", "of what was written", "something else") from None

    def __repr__(self) -> str:
        return "Sealer(...)"
