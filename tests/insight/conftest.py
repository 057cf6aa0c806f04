"""What the tests of what the records say have in common."""

from __future__ import annotations

import pytest

from tests.kit.explaining import be_patient


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.module.__name__.endswith("test_explain_in_time"):
        be_patient(monkeypatch)
