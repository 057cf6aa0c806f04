"""Tests of explanations are patient, but for those of the time that one takes."""

from __future__ import annotations

import pytest

from tests.kit.explaining import be_patient


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.module.__name__.endswith("test_explain_in_time"):
        be_patient(monkeypatch)
