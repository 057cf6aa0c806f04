"""Tests that Django's runner runs in the example project: see tests/django/test_manage.py."""

from __future__ import annotations

UNSEEN = "with Celery 5.4 the folder shows nothing of what is sent after a TestCase"
"""Why a test does not look into the broker's folder."""
