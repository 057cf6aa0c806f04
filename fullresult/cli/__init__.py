"""`celery -A proj fullresult …`: an app's records on the command line."""
