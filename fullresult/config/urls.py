"""URLs: as they may be shown, without their secrets; and their options."""

from __future__ import annotations

import re
from collections.abc import Container
from urllib.parse import unquote

_HIDDEN = "***"
_NEXT = re.compile(r";(?=[\w+.-]+://)")
"""Separates the brokers of a cluster."""
_SECRET = re.compile(
    r"pass|pwd|secret|token|credential|(access|api|account|shared)_?key|authmechanismproperties",
    re.IGNORECASE,
)
"""Names of options whose values are secret."""
_PAIR = re.compile(rf"(?i)\b(\w*(?:{_SECRET.pattern})\w*\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)")
_WRONG_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOSTS = re.compile(r"(?:(?:\[[^\]]*\]|[^:,]*)(?::\d*)?(?:,|$))*")
_PATHS = frozenset({"sqlite", "file", "filesystem", "memory"})
"""Schemes whose URLs are paths, in which an @ has no meaning."""


def without_password(url: str) -> str:
    """*url* with `***` for passwords, tokens and other secrets, in any part of it.

    Also takes several URLs, a wrong one, or text that is none; there, all that could be a password
    is hidden.
    """
    return ";".join(_shown(part) for part in _NEXT.split(url))


def without_user(url: str) -> str:
    """*url* without user, password and options."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return _options(url).rpartition("@")[2].partition("?")[0]
    place = rest if _is_path(scheme, rest) else _options(rest).rpartition("@")[2]
    return f"{scheme}://{place.partition('?')[0]}"


def is_escaped(url: str) -> bool:
    """True if the user and password of *url* are escaped, so that a driver reads them as meant.

    If not, a driver may take a part of the password for a host, and show it in an error.
    """
    user = _options(url.partition("://")[2]).rpartition("@")[0]
    return not (set(user) & set("/@") or _WRONG_ESCAPE.search(user))


def _shown(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        _, at, place = url.rpartition("@")
        return _PAIR.sub(rf"\1{_HIDDEN}", f"{_HIDDEN}@{place}" if at else url)
    # First, or an @ in an option could be taken for the end of a password.
    rest = _options(rest)
    if _is_path(scheme, rest):
        return f"{scheme}://{rest}"
    # The last @: an unescaped password may have one, and all of it must be hidden.
    user, at, place = rest.rpartition("@")
    shown = f"{_user(user)}@{place}" if at else _without_lost_password(place)
    return f"{scheme}://{shown}"


def _is_path(scheme: str, rest: str) -> bool:
    return scheme in _PATHS and rest[:1] in {"", "/"}


def _user(user: str) -> str:
    name, colon, _ = user.partition(":")
    if set(name) & set("/@?#=;"):
        return _HIDDEN  # no name: the @ was one further on
    return f"{name}:{_HIDDEN}" if colon else name


def _without_lost_password(place: str) -> str:
    """*place* without what may be a password whose @ was forgotten."""
    hosts = re.split("[/?]", place, maxsplit=1)[0]
    if _HOSTS.fullmatch(hosts):
        return place
    return f"{hosts.partition(':')[0]}:{_HIDDEN}{place[len(hosts) :]}"


def _options(rest: str) -> str:
    """*rest* with `***` for the values of options named like secrets.

    Such a value ends at the next &: a semicolon or a question mark may be part of it. What follows
    it without a name of its own is hidden, too: it may be the rest of a password with an &.
    """
    shown: list[str] = []
    for option in rest.split("&"):
        lost = "=" not in option and bool(shown) and shown[-1].endswith(_HIDDEN)
        shown.append(_HIDDEN if lost else _option(option))
    return "&".join(shown)


def _option(option: str) -> str:
    place = 0
    for part in re.split("([;?])", option):
        name, equals, _ = part.partition("=")
        if equals and _SECRET.search(unquote(name)):
            return f"{option[:place]}{name}={_HIDDEN}"
        place += len(part)
    return option


def split(url: str, ours: Container[str]) -> tuple[str, dict[str, str]]:
    """*url* without the options named in *ours*, and the values of those, decoded.

    The other options are for a driver, and stay as they are written.
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
