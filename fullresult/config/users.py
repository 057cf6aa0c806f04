"""The people who may see the pages or act there: roles, and the users of the configuration."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from fullresult.config.passwords import hash_token, is_password, is_password_hash, unmatchable_hash

Role = Literal["reader", "operator"]
ROLES = ("reader", "operator")
_TOKEN_HASH = 71
"""Characters of `sha256$…`."""
_FIELDS = {"password", "token", "role"}


@dataclass(frozen=True)
class Person:
    """Somebody who may use the pages. A reader sees everything; an operator may act as well."""

    name: str
    """As it stands in the audit log."""
    role: Role = "reader"
    deletes: bool = True
    """False for an operator who may not delete records."""
    sends: bool = True
    """False for an operator who may not send any task of the app, but recorded ones again."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f'Person.role must be "reader" or "operator", not {self.role!r}')

    @property
    def may_act(self) -> bool:
        return self.role == "operator"

    @property
    def may_delete(self) -> bool:
        return self.may_act and self.deletes

    @property
    def may_send(self) -> bool:
        return self.may_act and self.sends


@dataclass(frozen=True)
class User:
    """A person or program in the configuration."""

    person: Person
    password: str | None = None
    """Its hash."""
    token: str | None = None
    """Its hash."""


class Users:
    """The users who have a password, or a token for the header `Authorization`."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = dict(users)
        self._unmatchable = unmatchable_hash()

    def __bool__(self) -> bool:
        return bool(self._users)

    @property
    def can_log_in(self) -> bool:
        """True if any user has a password."""
        return any(user.password for user in self._users.values())

    def get(self, name: str) -> Person | None:
        user = self._users.get(name)
        return user.person if user else None

    def like(self, name: str) -> str | None:
        """The name of a user that people read as *name*: case and Unicode's forms aside."""
        return next((each for each in self._users if _read(each) == _read(name)), None)

    def by_password(self, name: str, password: str) -> Person | None:
        """The person *name*, if the password is right. An unknown name takes as long."""
        user = self._users.get(name)
        known = user.password if user and user.password else None
        right = is_password(password, known or self._unmatchable)
        return user.person if user and known and right else None

    def by_token(self, token: str) -> Person | None:
        """The person whose token it is."""
        hashed = hash_token(token)
        found = None
        for user in self._users.values():
            if user.token and hmac.compare_digest(hashed, user.token):
                found = user.person
        return found

    @property
    def fingerprint(self) -> bytes:
        """Changes with any of their passwords. No secret: the configuration has the hashes."""
        parts = (f"{name}:{user.password}" for name, user in sorted(self._users.items()))
        return hashlib.sha256("\n".join(parts).encode()).digest()


def _read(name: str) -> str:
    """*name* in one form for all that look alike to Unicode: in any case, composed or not."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def read_users(key: str, value: object) -> dict[str, User]:
    """The users in `fullresult_web_users`. Raises `ValueError`, naming the user and the mistake."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: it must be a dict of users by their names")  # noqa: TRY004  (as all)
    return {
        str(name): _user(f"{key}[{str(name)!r}]", str(name), user) for name, user in value.items()
    }


def _user(key: str, name: str, value: object) -> User:
    if not isinstance(value, Mapping) or not value.keys() <= _FIELDS or not name.strip():
        raise ValueError(f'{key}: it must be a dict with "password" or "token", and "role"')
    role, password, token = value.get("role", "reader"), value.get("password"), value.get("token")
    if role not in ROLES:
        raise ValueError(f'{key}["role"] must be "reader" or "operator"')
    if password is None and token is None:
        raise ValueError(f'{key} has neither a "password" nor a "token"')
    # Neither value is shown: even a wrong one may be a secret.
    if password is not None and not (isinstance(password, str) and is_password_hash(password)):
        raise ValueError(f'{key}["password"] must be a hash made by `fullresult web hash-password`')
    if token is not None and not _is_token_hash(token):
        raise ValueError(f'{key}["token"] must be a hash made by `fullresult web new-token`')
    return User(Person(name, cast("Role", role)), password, token)


def _is_token_hash(token: Any) -> bool:
    return isinstance(token, str) and token.startswith("sha256$") and len(token) == _TOKEN_HASH
