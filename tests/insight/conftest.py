"""What the tests of what the records say have in common."""

from __future__ import annotations

import pytest

from fullresult.insight.explain import in_time


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An explanation waits for a storage where the machine has other work for seconds."""
    if not request.module.__name__.endswith("test_explain_in_time"):
        monkeypatch.setattr(in_time, "_LATE", 30.0)
        monkeypatch.setattr(in_time, "_LATEST", 30.0)
