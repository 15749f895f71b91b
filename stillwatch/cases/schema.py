"""The tables of a case store. The journal (`entries`) is what counts; the other tables make it quick to ask."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

VERSION = Table("schema_version", METADATA, Column("version", Integer, nullable=False))

CASES = Table(
    "cases",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("opened", Text, nullable=False, unique=True),  # digest of the first entry: which case this is
    Column("title", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("tlp", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
    Column("public_key", Text, nullable=False),  # of the signature over id, seq, head and imports
    Column("signature", Text, nullable=False),
)

ENTRIES = Table(
    "entries",
    METADATA,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("line", Text, nullable=False),
)

THINGS = Table(
    "things",
    METADATA,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),  # the entry that brought it in
    Column("content", Text),  # the document; null where the thing has none, or it was left out of an export
    UniqueConstraint("case_id", "seq", name="things_by_seq"),
)

IMPORTS = Table(
    "imports",
    METADATA,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("named", Boolean, nullable=False),
    Column("manifest", Text, nullable=False),  # sha256 of `content`
    Column("content", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
