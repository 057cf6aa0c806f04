"""What a user may set: the keys, how they are read, and what their values mean."""

from fullresult.config.settings import (
    DEFAULT_SPOOL,
    Settings,
    duration,
    is_recorded,
    namespace_of,
    without_password,
)

__all__ = [
    "DEFAULT_SPOOL",
    "Settings",
    "duration",
    "is_recorded",
    "namespace_of",
    "without_password",
]
