"""What Celery does, turned into events: publishes, runs, redaction, the worker's heartbeat."""
