"""The tasks of `scenario_backend_app`, in a pool whose processes are killed while they join chords.

`FULLRESULT_TEST_KILLS` names a folder. In it a mark is left for each body, so that each is killed
for once; `FULLRESULT_TEST_KILL_AT` says where: "counted", when the last member is counted and
nothing else is done; "joined", before the body is published; "sent", after that.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from billiard.process import current_process

from fullresult.results import bodies
from fullresult.results.chords import Chords
from tests.apps.scenario_backend_app import app, make_app

__all__ = ["app", "make_app"]


def kill_once(where: str, callback: Any) -> None:
    """Die here if that is wanted, and none has died here for *callback*."""
    directory = os.environ.get("FULLRESULT_TEST_KILLS")
    is_parent = current_process().name == "MainProcess"
    if directory is None or is_parent or os.environ["FULLRESULT_TEST_KILL_AT"] != where:
        return
    try:
        Path(directory, str(callback["options"]["task_id"])).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


_send, _publish = Chords._send_or_fail, bodies.publish


def _killed_before(self: Chords, chord_id: str, callback: Any) -> None:
    kill_once("counted", callback)
    _send(self, chord_id, callback)


def _killed_around(app: Any, callback: Any, results: list[Any]) -> None:
    kill_once("joined", callback)
    _publish(app, callback, results)
    kill_once("sent", callback)


Chords._send_or_fail = _killed_before  # type: ignore[method-assign]
bodies.publish = _killed_around
