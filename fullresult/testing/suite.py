"""The whole suite."""

from __future__ import annotations

from fullresult.testing.arguments import Arguments
from fullresult.testing.auditing import Auditing
from fullresult.testing.changing import Changing
from fullresult.testing.claiming import Claiming
from fullresult.testing.expiring import Expiring
from fullresult.testing.finding import Finding
from fullresult.testing.joining import Joining
from fullresult.testing.keeping import Keeping
from fullresult.testing.life import Life
from fullresult.testing.listing import Listing
from fullresult.testing.overlapping import Overlapping
from fullresult.testing.paging import Paging
from fullresult.testing.results import Results
from fullresult.testing.scheduling import Scheduling
from fullresult.testing.sharing import Sharing
from fullresult.testing.statistics import Statistics
from fullresult.testing.workers import Workers


class StorageSuite(
    Life,
    Keeping,
    Finding,
    Arguments,
    Paging,
    Sharing,
    Expiring,
    Overlapping,
    Results,
    Joining,
    Scheduling,
    Changing,
    Claiming,
    Listing,
    Workers,
    Statistics,
    Auditing,
):
    """What any storage must do. Subclass it with a fixture `url`; see `fullresult.testing`."""
