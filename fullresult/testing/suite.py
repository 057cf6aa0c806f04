"""The whole suite."""

from __future__ import annotations

from fullresult.testing.audit import Auditing
from fullresult.testing.begin_write import Overlapping
from fullresult.testing.change_schedules import Changing
from fullresult.testing.chords import Chords
from fullresult.testing.claim_schedules import Claiming
from fullresult.testing.delete_expired import Expiring
from fullresult.testing.failures import Failures
from fullresult.testing.find_by_arguments import Arguments
from fullresult.testing.find_by_fields import Finding
from fullresult.testing.keep_schedules import Scheduling
from fullresult.testing.list_schedules import Listing
from fullresult.testing.order_and_pages import Paging
from fullresult.testing.outbox import Outboxes
from fullresult.testing.pauses import Pausing
from fullresult.testing.recounting import Recounting
from fullresult.testing.replays import Replaying
from fullresult.testing.results import Results
from fullresult.testing.runs import Runs
from fullresult.testing.setup_and_close import Life
from fullresult.testing.shapes import Shapes
from fullresult.testing.statistics import Statistics
from fullresult.testing.threads_and_forks import Sharing
from fullresult.testing.workers import Workers
from fullresult.testing.write_and_get import Keeping
from fullresult.testing.write_and_join import Joining


class StorageSuite(
    Life,
    Keeping,
    Runs,
    Finding,
    Arguments,
    Paging,
    Sharing,
    Expiring,
    Overlapping,
    Results,
    Joining,
    Chords,
    Recounting,
    Scheduling,
    Changing,
    Claiming,
    Listing,
    Outboxes,
    Workers,
    Statistics,
    Shapes,
    Failures,
    Auditing,
    Replaying,
    Pausing,
):
    """Everything a storage must do. Subclass it with a fixture `url`; see `fullresult.testing`."""
