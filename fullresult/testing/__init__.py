"""The conformance suite: tests that every storage must pass, for the adapters here and for yours.

Install pytest and hypothesis, subclass `StorageSuite` in a test module, and say where an empty
database is:

    import pytest
    from fullresult.testing import StorageSuite

    class TestMyStorage(StorageSuite):
        @pytest.fixture
        def url(self, tmp_path):
            return f"mydatabase://{tmp_path}/new"

That is enough if your adapter is installed (an entry point in the group `fullresult.storage`, see
`fullresult.hookspecs`). Otherwise, or to give it settings of its own, override `open_storage(url)`:
a static method that returns a storage not yet connected. It must be possible to pickle it, for
other processes call it too.

Tests of schedules and of the optional protocols are skipped if your storage lacks the methods.
Three more fixtures are optional, and the tests that need them are skipped without:

`unreachable_url`: a URL where no storage answers.
`old_url`: a database that an older version of your adapter made, and in which it wrote
`OLD_RECORDS`. Keep one for each version of your schema, and parametrise the fixture.
`connect`: for an `OutboxStorage`, a function without arguments that connects to the database of
`url` as an application does: a context manager of a `fullresult.testing.outbox.Caller`.

No test knows its adapter; each is a sentence of the docstrings in `fullresult.storage`.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part.name}" for part in iter_modules(__path__)))

from fullresult.testing.fixtures import open_storage  # noqa: E402
from fullresult.testing.setup_and_close import OLD_RECORDS  # noqa: E402
from fullresult.testing.suite import StorageSuite  # noqa: E402

__all__ = ["OLD_RECORDS", "StorageSuite", "open_storage"]
