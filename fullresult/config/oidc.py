"""Log-in by OpenID Connect: the provider, and who may do what."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from fullresult.config.durations import duration
from fullresult.config.users import Role

_NEEDED = ("issuer", "client_id")
_TEXTS = (*_NEEDED, "client_secret", "name", "groups", "scope")
_LISTS = ("operators", "readers")
_SESSION = "session"
_SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=12)
"""Of a session."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_GROUP = "group:"
_ANYONE = "*"


@dataclass(frozen=True)
class Oidc:
    """`fullresult_web_oidc`."""

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    """None for a client that has none, which PKCE alone protects."""
    operators: frozenset[str] = frozenset()
    """Names, `group:NAME`, or `*` for all whom the provider knows."""
    readers: frozenset[str] = frozenset()
    name: str = "email"
    """The claim that is a person's name here."""
    groups: str = "groups"
    """The claim that lists a person's groups."""
    scope: str = "openid email profile"
    session: timedelta = LONGEST
    """The time after which a person has to come from the provider again, which says their role."""

    def role_of(self, name: str, groups: Collection[str]) -> Role | None:
        """The role of somebody with that name in these groups; None if they may not come in.

        A name that looks like a group is none: at some providers people choose their names.
        """
        known = {_ANYONE, *(f"{_GROUP}{group}" for group in groups)}
        if not name.startswith(_GROUP):
            known.add(name)
        if known & self.operators:
            return "operator"
        return "reader" if known & self.readers else None

    @property
    def fingerprint(self) -> bytes:
        """Changes with all but the secret of the client."""
        shown = [self.issuer, self.client_id, self.name, self.groups, str(self.session)]
        who = (*sorted(self.operators), "", *sorted(self.readers))
        return hashlib.sha256("\n".join((*shown, *who)).encode()).digest()


def read_oidc(key: str, value: object) -> Oidc | None:
    """The provider in `fullresult_web_oidc`. Raises `ValueError`, naming the mistake."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: it must be a dict with an issuer and a client_id")  # noqa: TRY004
    if unknown := sorted({str(each) for each in value} - {*_TEXTS, *_LISTS, _SESSION}):
        known = ", ".join((*_TEXTS, *_LISTS, _SESSION))
        raise ValueError(f"{key} has no {unknown[0]!r}; there are {known}")
    for name in _NEEDED:
        if not value.get(name):
            raise ValueError(f"{key} has no {name!r}: it is the provider's, and is needed")
    for name in _TEXTS:
        if name in value and not (isinstance(value[name], str) and value[name].strip()):
            raise ValueError(f"{key}[{name!r}] must be text")
    lists = {name: _names(f"{key}[{name!r}]", value.get(name, ())) for name in _LISTS}
    if not any(lists.values()):
        raise ValueError(
            f'{key} lets nobody in: give "operators" or "readers", each a list of names, of '
            '"group:NAME", or of "*" for all whom the provider knows'
        )
    _check_issuer(f'{key}["issuer"]', value["issuer"])
    texts = {name: value[name] for name in _TEXTS if name in value}
    session = _session(f"{key}[{_SESSION!r}]", value.get(_SESSION, LONGEST))
    return Oidc(**{**texts, **lists}, session=session)


def _session(key: str, value: object) -> timedelta:
    problem = f"{key} must be a timedelta or text such as '1h', from 1 minute to 12 hours, not "
    try:
        read = duration(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"{problem}{value!r}") from None
    if not isinstance(read, timedelta) or not _SHORTEST <= read <= LONGEST:
        raise ValueError(f"{problem}{value!r}")
    return read


def is_safe(address: str) -> bool:
    """True for an address with https, or on this host."""
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or local)


def _names(key: str, value: object) -> frozenset[str]:
    if not (
        isinstance(value, (list, tuple, set, frozenset))
        and all(isinstance(each, str) and each.strip() for each in value)
    ):
        raise ValueError(f"{key} must be a list of texts")
    return frozenset(value)


def _check_issuer(key: str, issuer: str) -> None:
    if not is_safe(issuer):
        raise ValueError(f"{key} must be an address with https, not {issuer!r}")
