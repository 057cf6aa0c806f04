"""Everything that a storage or a directory holds, as bytes to look for secrets in."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

SHORTEST = 8
"""Characters that no other content of a storage is by chance."""


def found(secrets: tuple[str, ...], haystack: bytes) -> list[str]:
    """Those of *secrets* that stand in *haystack*, also as hexadecimal digits or in base64."""
    return [secret for secret in secrets if any(form in haystack for form in _forms(secret))]


def _forms(secret: str) -> list[bytes]:
    plain = secret.encode()
    # Base64 depends on where in a group of three a text begins; its edges on what is beside it.
    shifted = [b64encode(b"\0" * shift + plain)[4 * (shift > 0) :] for shift in range(3)]
    forms = [plain, plain.hex().encode(), *(text[2:-4] for text in shifted)]
    if min(map(len, forms)) < SHORTEST:
        raise ValueError(f"{secret!r} is so short that chance may write it: take a longer secret")
    return forms


def everything(url: str) -> bytes:
    """All that a SQL storage holds."""
    if url.startswith("sqlite"):
        path = Path(urlsplit(url).path)
        return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return b"".join(_rows(connection, name) for (name,) in tables)


def _rows(connection: psycopg.Connection[Any], table: str) -> bytes:
    """Each row as JSON; of bytes, their digits."""
    query = sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(sql.Identifier(table))
    return b"\n".join(row[0].encode() for row in connection.execute(query))


def files(directory: Path) -> bytes:
    """All that the files of a directory hold, at any depth, and what stands there in base64."""
    whole = b"\n".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())
    return whole + b"\n".join(_decoded(word) for word in whole.split(b'"'))


def _decoded(word: bytes) -> bytes:
    try:
        return b64decode(word, validate=True)
    except Error:
        return b""
