"""The whole suite."""

from __future__ import annotations

from fullresult.testing.arguments import Arguments
from fullresult.testing.changing import Changing
from fullresult.testing.claiming import Claiming
from fullresult.testing.expiring import Expiring
from fullresult.testing.finding import Finding
from fullresult.testing.keeping import Keeping
from fullresult.testing.life import Life
from fullresult.testing.listing import Listing
from fullresult.testing.overlapping import Overlapping
from fullresult.testing.paging import Paging
from fullresult.testing.results import Results
from fullresult.testing.scheduling import Scheduling
from fullresult.testing.sharing import Sharing


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
    Scheduling,
    Changing,
    Claiming,
    Listing,
):
    """What any storage must do. Subclass it with a fixture `url`; see `fullresult.testing`."""
