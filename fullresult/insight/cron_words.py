"""A crontab in words, made of what Celery reads in it: `at 05:00 on day 1 of the month (UTC)`."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery.schedules import crontab

_MINUTES, _HOURS = range(60), range(24)
_WEEKDAYS, _DAYS, _MONTHS = range(7), range(1, 32), range(1, 13)
_MOST_TIMES = 6
_RUN = 3
"""So many values in a row are said as `8 to 17`."""


def cron_words(plan: crontab) -> str:
    """When *plan* is due, in its own time zone."""
    time, days = _time(set(plan.minute), set(plan.hour)), _days(plan)
    if not days and not time.startswith("every"):
        days = "every day"
    return f"{' '.join(filter(None, (time, days)))} ({_zone(plan)})"


def _time(minutes: Collection[int], hours: Collection[int]) -> str:
    every = _step(minutes, _MINUTES)
    if len(hours) == len(_HOURS):
        if every is not None:
            return "every minute" if every == 1 else f"every {every} minutes"
        return f"every hour at {_counted('minute', minutes)}"
    if len(minutes) * len(hours) <= _MOST_TIMES:
        times = [f"{hour:02}:{minute:02}" for hour in sorted(hours) for minute in sorted(minutes)]
        return f"at {_listed(times)}"
    of_hours = _step(hours, _HOURS)
    if of_hours is not None:
        begun = f"every {of_hours} hours"
        return begun if set(minutes) == {0} else f"{begun} at {_counted('minute', minutes)}"
    if every is not None:
        often = "every minute" if every == 1 else f"every {every} minutes"
        return f"{often} of {_counted('hour', hours)}"
    return f"at {_counted('minute', minutes)} of {_counted('hour', hours)}"


def _days(plan: crontab) -> str:
    weekdays, days = set(plan.day_of_week), set(plan.day_of_month)
    months = set(plan.month_of_year)
    said = []
    on_weekdays, on_days = weekdays != {*_WEEKDAYS}, days != {*_DAYS}
    if on_weekdays:
        # Sunday is 0; Python's week begins on Monday.
        names = _named(weekdays, lambda day: calendar.day_name[(day - 1) % 7])
        said.append(f"on {names}")
    if on_days:
        words = f"{_counted('day', days)} of the month"
        # Both must be so, unlike in cron.
        said.append(f"if it is {words}" if on_weekdays else f"on {words}")
    if months != {*_MONTHS}:
        said.append(f"in {_named(months, lambda month: calendar.month_name[month])}")
    return " ".join(said)


def _step(values: Collection[int], whole: range) -> int | None:
    """The step in which *values* go through *whole* from 0 on; None if they do not."""
    step = len(whole) // max(len(values), 1)
    return step if {*values} == {*whole[::step]} and len(whole) % step == 0 else None


def _counted(noun: str, values: Collection[int]) -> str:
    """`minute 5`, `hours 8 to 17`."""
    return f"{noun}{'' if len(values) == 1 else 's'} {_named(values, str)}"


def _named(values: Collection[int], name: Callable[[int], str]) -> str:
    """`1, 3 and 8 to 17`, each by its *name*."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    words: list[str] = []
    for run in runs:
        long = len(run) >= _RUN
        words += [f"{name(run[0])} to {name(run[-1])}"] if long else map(name, run)
    return _listed(words)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _zone(plan: crontab) -> str:
    zone = plan.tz
    return str(getattr(zone, "key", None) or getattr(zone, "zone", None) or zone)
