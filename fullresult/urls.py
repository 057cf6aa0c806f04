"""What of a storage's URL is the adapter's to read, and what its driver's."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import unquote


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
