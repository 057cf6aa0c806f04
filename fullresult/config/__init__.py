"""What a user may set: the keys, how they are read, and what their values mean."""

from fullresult.config.durations import duration
from fullresult.config.namespace import mark_of, may_be_one, namespace_of
from fullresult.config.settings import Limits, Settings, is_recorded
from fullresult.config.spool_home import DEFAULT_SPOOL, spool_home
from fullresult.config.urls import is_escaped, without_password

__all__ = [
    "DEFAULT_SPOOL",
    "Limits",
    "Settings",
    "duration",
    "is_escaped",
    "is_recorded",
    "mark_of",
    "may_be_one",
    "namespace_of",
    "spool_home",
    "without_password",
]
