"""Tests that Django's runner runs in the example project: see tests/django/test_manage.py."""
