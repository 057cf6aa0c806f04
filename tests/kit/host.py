"""A host with a clock of its own: `sweep`, `sweep-once` or `publish COUNTDOWN NUMBER`.

Run by `tests.kit.skewed_clock`; the Celery settings are JSON in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone

from tests.kit import sweeping
from tests.kit.scheduling import sweep
from tests.kit.workers import SETTINGS


def main(command: str, *arguments: str) -> None:
    settings = json.loads(os.environ[SETTINGS])
    print(datetime.now(timezone.utc).isoformat(), flush=True)  # noqa: T201
    if command == "sweep":
        sweeping.sweep_until_stopped(settings)
        return
    full = sweeping.make(settings)
    if command == "sweep-once":
        sweep(full)
        return
    countdown, number = arguments
    print(*sweeping.schedule(full, int(number), countdown=float(countdown)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
