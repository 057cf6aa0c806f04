"""Passwords and tokens, kept as hashes only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_N, _R, _P = 2**15, 8, 3
"""A guess costs 32 MiB and about 200 ms."""
_LONGEST = 1024
_PARTS = 6


def hash_password(password: str, n: int = _N, r: int = _R, p: int = _P) -> str:
    """*password* as scrypt's hash with a salt: `scrypt$n$r$p$salt$hash`."""
    salt = secrets.token_bytes(16)
    made = _scrypt(password, salt, n, r, p)
    return "$".join(["scrypt", str(n), str(r), str(p), _text(salt), _text(made)])


def unmatchable_hash() -> str:
    """A hash that no password has; checking it takes as long as checking any other."""
    return "$".join(["scrypt", str(_N), str(_R), str(_P), _text(bytes(16)), _text(bytes(32))])


def is_password_hash(text: str) -> bool:
    """True if `hash_password` could have made *text*."""
    parts = text.split("$")
    return (
        len(parts) == _PARTS
        and parts[0] == "scrypt"
        and all(part.isdecimal() for part in parts[1:4])
        and all(_bytes(part) is not None for part in parts[4:])
    )


def is_password(password: str, hashed: str) -> bool:
    """True if *hashed* is the hash of *password*."""
    if len(password) > _LONGEST or not is_password_hash(hashed):
        return False
    _, n, r, p, salt, wanted = hashed.split("$")
    made = _scrypt(password, _bytes(salt) or b"", int(n), int(r), int(p))
    return hmac.compare_digest(made, _bytes(wanted) or b"")


def new_token() -> str:
    """A random token of 32 bytes."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """*token*, which is random and long, as `sha256$hash`."""
    return f"sha256${hashlib.sha256(token.encode(errors='replace')).hexdigest()}"


def _scrypt(password: str, salt: bytes, n: int = _N, r: int = _R, p: int = _P) -> bytes:
    room = 128 * r * (n + p + 2)
    secret = password.encode(errors="replace")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=2 * room, dklen=32)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        return None
