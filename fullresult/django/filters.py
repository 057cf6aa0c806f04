"""The filters beside the lists of the admin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.utils import timezone

from fullresult.django.listing import MOST_NAMES, task_names
from fullresult.django.site import alias_for_models, full_of_site
from fullresult.record import FAILURE, NOT_RUN, SCHEDULED_SENT, STATES, SUCCESS
from fullresult.storage import OPEN, OWN_SECTION

_RAN_FROM = "0000000000"
"""The stamp of every outcome is greater, but for that of what never ran."""
_SPANS = {"15m": "the last 15 minutes", "1h": "the last hour", "1d": "the last day"}
_SPANS |= {"7d": "the last 7 days"}
_LENGTHS = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
}


class StateFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in STATES]

    def queryset(self, request: Any, queryset: Any) -> Any:  # noqa: ARG002  (Django's)
        """The records in that state, by the index that has them."""
        state = self.value()
        if state not in STATES:
            return queryset
        if state in (FAILURE, NOT_RUN):
            # One section has both: what never ran has the least stamps that there are.
            found = queryset.filter(bucket=FAILURE)
            never_ran = {"outcome_stamp__lt": _RAN_FROM}
            return found.filter(**never_ran) if state == NOT_RUN else found.exclude(**never_ran)
        if state in OWN_SECTION:
            return queryset.filter(bucket=state)
        if state == SUCCESS:
            return queryset.filter(state=state)
        sections = [OPEN, state] if state == SCHEDULED_SENT else [OPEN]
        return queryset.filter(state=state, bucket__in=sections)


class NameFilter(admin.SimpleListFilter):
    title = parameter_name = "name"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        names = task_names(alias_for_models(), most=MOST_NAMES + 1)
        if len(names) > MOST_NAMES:
            self.title = f"name, one of the first {MOST_NAMES} (the search finds all)"
        return [(name, name) for name in names[:MOST_NAMES]]

    def queryset(self, request: Any, queryset: Any) -> Any:  # noqa: ARG002  (Django's)
        return queryset.filter(name=self.value()) if self.value() else queryset


class QueueFilter(admin.SimpleListFilter):
    """The queues that the app knows: those of the records would have to be counted."""

    title = parameter_name = "queue"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(full_of_site().app.amqp.queues)]

    def queryset(self, request: Any, queryset: Any) -> Any:  # noqa: ARG002  (Django's)
        return queryset.filter(queue=self.value()) if self.value() else queryset


class CreatedFilter(admin.SimpleListFilter):
    title, parameter_name = "created", "created"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return list(_SPANS.items())

    def queryset(self, request: Any, queryset: Any) -> Any:  # noqa: ARG002  (Django's)
        length = _LENGTHS.get(self.value() or "")
        return queryset.filter(date_created__gte=timezone.now() - length) if length else queryset


class WaitingFilter(admin.SimpleListFilter):
    title, parameter_name = "how it stands", "stands"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [
            ("waits", "waits until it is due"),
            ("overdue", "due, and not claimed"),
            ("claimed", "claimed: maybe sent"),
        ]

    def queryset(self, request: Any, queryset: Any) -> Any:  # noqa: ARG002  (Django's)
        match self.value():
            case "waits":
                return queryset.waiting().filter(due__gt=timezone.now())
            case "overdue":
                return queryset.waiting().filter(due__lte=timezone.now())
            case "claimed":
                return queryset.claimed()
        return queryset
