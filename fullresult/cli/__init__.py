"""`celery -A proj fullresult …`: the memory of an app on the command line."""
