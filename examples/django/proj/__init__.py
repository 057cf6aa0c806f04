"""A web shop. The Celery app is imported here, so that tasks and fullresult find it."""

from proj.celery import app

__all__ = ["app"]
