"""Credentials: URLs as they may be shown, without what is secret in them."""

from __future__ import annotations

import re
from collections.abc import Container
from urllib.parse import unquote

_HIDDEN = "***"
_NEXT = re.compile(r";(?=[\w+.-]+://)")
"""Between the brokers of a cluster."""
_SECRET = re.compile(
    r"pass|pwd|secret|token|credential|(access|api|account|shared)_?key|authmechanismproperties",
    re.IGNORECASE,
)
"""How options are called whose values are not to be seen."""
_PAIR = re.compile(rf"(?i)\b(\w*(?:{_SECRET.pattern})\w*\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)")
_WRONG_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOSTS = re.compile(r"(?:(?:\[[^\]]*\]|[^:,]*)(?::\d*)?(?:,|$))*")
_PATHS = frozenset({"sqlite", "file", "filesystem", "memory"})
"""Schemes whose URLs are paths, in which an @ means nothing."""


def without_password(url: str) -> str:
    """*url* as it may be shown: without passwords, tokens and the like, in whatever part of it.

    It may be several, a wrong one, or none at all: what could be a password is not shown either.
    """
    return ";".join(_shown(part) for part in _NEXT.split(url))


def without_user(url: str) -> str:
    """What *url* says of the place: neither who asks, nor options."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return _options(url).rpartition("@")[2].partition("?")[0]
    place = rest if _is_path(scheme, rest) else _options(rest).rpartition("@")[2]
    return f"{scheme}://{place.partition('?')[0]}"


def is_escaped(url: str) -> bool:
    """Whether nothing in the user and password of *url* is taken for what follows, or refused.

    A driver would show in its errors what it took for a host.
    """
    user = _options(url.partition("://")[2]).rpartition("@")[0]
    return not (set(user) & set("/@") or _WRONG_ESCAPE.search(user))


def _shown(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        _, at, place = url.rpartition("@")
        return _PAIR.sub(rf"\1{_HIDDEN}", f"{_HIDDEN}@{place}" if at else url)
    # First, so that an @ in one of them is not taken for the end of a password.
    rest = _options(rest)
    if _is_path(scheme, rest):
        return f"{scheme}://{rest}"
    # Of several @ the last one, so that all of a password that is not escaped is left of it.
    user, at, place = rest.rpartition("@")
    shown = f"{_user(user)}@{place}" if at else _without_lost_password(place)
    return f"{scheme}://{shown}"


def _is_path(scheme: str, rest: str) -> bool:
    return scheme in _PATHS and rest[:1] in {"", "/"}


def _user(user: str) -> str:
    name, colon, _ = user.partition(":")
    if set(name) & set("/@?#=;"):
        return _HIDDEN  # no name: an @ further on was taken for the end of one
    return f"{name}:{_HIDDEN}" if colon else name


def _without_lost_password(place: str) -> str:
    """*place*, which has no user, but perhaps one whose @ was forgotten."""
    hosts = re.split("[/?]", place, maxsplit=1)[0]
    if _HOSTS.fullmatch(hosts):
        return place
    return f"{hosts.partition(':')[0]}:{_HIDDEN}{place[len(hosts) :]}"


def _options(rest: str) -> str:
    """*rest* with the values hidden of options that are called like secrets.

    Such a value goes on to the next &: a semicolon or a question mark may be part of it.
    """
    return "&".join(map(_option, rest.split("&")))


def _option(option: str) -> str:
    place = 0
    for part in re.split("([;?])", option):
        name, equals, _ = part.partition("=")
        if equals and _SECRET.search(unquote(name)):
            return f"{option[:place]}{name}={_HIDDEN}"
        place += len(part)
    return option


def split(url: str, ours: Container[str]) -> tuple[str, dict[str, str]]:
    """*url* without the options named in *ours*, and these, decoded.

    The rest is a driver's to read, and stays as it is written.
    """
    base, _, query = url.partition("?")
    own, rest = {}, []
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if name in ours:
            own[name] = unquote(value)
        elif option:
            rest.append(option)
    return "?".join([base, *filter(None, ["&".join(rest)])]), own
