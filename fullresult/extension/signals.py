"""The receivers of Celery's signals: each passes an event to the recorder of its app.

Celery catches what a receiver raises, logs it, and goes on with the task.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Celery, Task, signals
from celery.app.task import Context
from celery.exceptions import ImproperlyConfigured, NotRegistered, Reject
from celery.utils.dispatch import Signal
from celery.worker.request import Request

from fullresult.extension import receiving
from fullresult.extension.parts import Parts, parts_of
from fullresult.extension.running_worker import RunningWorker
from fullresult.outage import flusher
from fullresult.record import FAILURE, IGNORED, REJECTED
from fullresult.recording import beat_entries, this_worker
from fullresult.recording.publishing import current_publish
from fullresult.scheduling import original_ids, own_entries
from fullresult.scheduling.capturing_producer import current_capture
from fullresult.storage import watch_forks

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder


def connect() -> None:
    """Connect every receiver. A second call in a process changes nothing."""
    for kind, receivers in (("recorder", RECEIVERS), ("original_ids", original_ids.RECEIVERS)):
        for name, receiver in receivers.items():
            uid = f"fullresult.{kind}.{name}"
            passing = receiving.passing_on(name, receiver)
            signal = getattr(signals, name)
            signal.connect(passing, dispatch_uid=uid, weak=False)
            watch_forks(signal, in_child=_renew_lock)


def _renew_lock(signal: Signal) -> None:
    """Free the lock that another thread of the parent held while it looked for receivers.

    Celery takes it only where there are some: without ours, the child would not wait for it.
    """
    signal.lock = threading.Lock()


def _recorder(app: Celery, name: str) -> Recorder | None:
    """The recorder of *app*; None without one, and for a task *name* that is not recorded.

    None as well while a recorded call is made again by hand, with the tasks that it runs in place.
    """
    parts = parts_of(app)
    if parts is None or parts.rehearsals.here() is not None:
        return None
    recorder = parts.recorder
    return recorder if recorder.records(name) else None


def _is_ignored(task: Task, request: Context) -> bool:
    """True if the result is not wanted. The message's `ignore_result` overrides the task's."""
    # Not by getattr: the class attribute is False even if the message says nothing.
    wish = vars(request).get("ignore_result")
    return bool(task.ignore_result if wish is None else wish)


def on_before_task_publish(headers: dict[str, Any], body: Any, **_: Any) -> None:
    # The message is not yet whole: other receivers may add headers, and the producer serialises it.
    publish, capture = current_publish(), current_capture()
    if (publish is None or not publish.announce(headers, body)) and capture is not None:
        capture.announced = True


def on_task_received(sender: Any, request: Request, **_: Any) -> None:
    if recorder := _recorder(sender.app, request.task_name):
        recorder.received(request)


def on_task_prerun(sender: Task, task_id: str, **_: Any) -> None:
    if sender.request.id is None:
        return  # a library that runs several tasks as one has made up the id
    if recorder := _recorder(sender.app, sender.name):
        recorder.started(task_id, sender.name, sender.request)


def on_task_success(sender: Task, result: Any, runtime: float | None = None, **_: Any) -> None:
    if recorder := _recorder(sender.app, sender.name):
        request = sender.request
        recorder.succeeded(request, sender.name, result, runtime, _is_ignored(sender, request))


def on_task_failure(
    sender: Task, task_id: str, exception: BaseException, einfo: Any = None, **_: Any
) -> None:
    if recorder := _recorder(sender.app, sender.name):
        recorder.failed(task_id, sender.name, sender.request, exception, einfo)


def on_task_internal_error(
    sender: Task,
    task_id: str,
    request: dict[str, Any],
    exception: BaseException,
    einfo: Any = None,
    **_: Any,
) -> None:
    if recorder := _recorder(sender.app, sender.name):
        recorder.failed(task_id, sender.name, Context(request, id=task_id), exception, einfo)


def on_task_retry(
    sender: Task, request: Context, reason: Any = None, einfo: Any = None, **_: Any
) -> None:
    if recorder := _recorder(sender.app, sender.name):
        if reason is None and einfo is None:
            # Not a retry: the worker cancelled the run, at a cold shutdown or a lost connection.
            recorder.interrupted(request)
        else:
            recorder.retried(request, reason, einfo)


def on_task_postrun(sender: Task, retval: Any = None, state: str | None = None, **_: Any) -> None:
    # Only these ends of a run have no signal of their own. The state SUCCESS proves nothing here:
    # the result may not have been stored.
    if state not in (None, IGNORED, REJECTED):
        return
    if recorder := _recorder(sender.app, sender.name):
        request = sender.request
        if state is None:
            recorder.interrupted(request)
        elif _requeues(retval) and sender.acks_late and not request.is_eager:
            recorder.interrupted(request, REJECTED)
        else:
            recorder.gave_up(request, state)


def _requeues(retval: object) -> bool:
    return isinstance(retval, Reject) and bool(retval.requeue)


def on_task_revoked(
    sender: Task, request: Context, terminated: bool = False, expired: bool = False, **_: Any
) -> None:
    if recorder := _recorder(sender.app, sender.name):
        reason = "expired" if expired else "terminated" if terminated else "revoked"
        recorder.revoked(request, sender.name, reason)


def on_task_rejected(sender: Any, message: Any, exc: Any = None, **_: Any) -> None:
    name = str((message.headers or {}).get("task"))
    if recorder := _recorder(sender.app, name):
        recorder.refused(message, REJECTED, sender.hostname, exc)


def on_task_unknown(sender: Any, name: str, message: Any, **_: Any) -> None:
    if recorder := _recorder(sender.app, name):
        # The signal has the KeyError of a lookup; Celery gives this to the result backend.
        recorder.refused(message, FAILURE, sender.hostname, NotRegistered(name))


def on_worker_init(sender: Any, **_: Any) -> None:
    this_worker.became_worker(sender)
    # Only workers need these.
    from fullresult.extension.pause_step import add_to
    from fullresult.extension.worker_command import register

    register()
    if parts_of(sender.app) is not None:
        add_to(sender.app)


def on_celeryd_after_setup(instance: Any, **_: Any) -> None:
    _read_settings(parts_of(instance.app))


def _read_settings(parts: Parts | None) -> None:
    """Have a process with a wrong configuration end as it starts, and say why."""
    try:
        if parts is not None:
            parts.settings  # noqa: B018  (it opens the storage, too)
    except ImproperlyConfigured as error:
        # Celery catches all else that a receiver raises, and goes on.
        raise SystemExit(f"fullresult: {error}") from None


def on_worker_ready(sender: Any, **_: Any) -> None:
    parts = parts_of(sender.app)
    if parts is not None and parts.worker is None:
        parts.worker = RunningWorker(parts, sender)


def on_worker_process_shutdown(**_: Any) -> None:
    flusher.finish_all()


def on_beat_init(sender: Any, **_: Any) -> None:
    parts = parts_of(sender.app)
    _read_settings(parts)
    if parts is not None:
        own_entries.add_entries(sender.app, parts.settings, sender.scheduler)
        beat_entries.watch(sender.scheduler)


RECEIVERS: dict[str, Callable[..., None]] = {
    "before_task_publish": on_before_task_publish,
    "task_received": on_task_received,
    "task_prerun": on_task_prerun,
    "task_success": on_task_success,
    "task_failure": on_task_failure,
    "task_internal_error": on_task_internal_error,
    "task_retry": on_task_retry,
    "task_postrun": on_task_postrun,
    "task_revoked": on_task_revoked,
    "task_rejected": on_task_rejected,
    "task_unknown": on_task_unknown,
    "worker_init": on_worker_init,
    "celeryd_after_setup": on_celeryd_after_setup,
    "worker_ready": on_worker_ready,
    "worker_process_shutdown": on_worker_process_shutdown,
    "beat_init": on_beat_init,
}
