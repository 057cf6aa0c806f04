"""The Celery app, which is recorded."""

import os

from celery import Celery

from fullresult import FullResult

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
app = Celery("proj", task_cls="fullresult.django.task:Task")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
FullResult(app)
