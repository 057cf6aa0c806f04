"""The web pages: `create_app(full)`, an ASGI app to serve or to mount. Needs `fullresult[web]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullresult.config.users import Person
    from fullresult.web.app import create_app

__all__ = ["Person", "create_app"]


def __getattr__(name: str) -> Any:
    """Import the name when it is asked for: settings are read without Starlette."""
    if name == "Person":
        from fullresult.config.users import Person

        return Person
    if name == "create_app":
        from fullresult.web.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
