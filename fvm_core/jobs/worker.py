"""Runs one job from its folder to an end that the folder tells of: done, stopped or failed."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fvm_core.errors import FVMError, StorageError
from fvm_core.files import sweep
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.jobs.disk_context import DiskContext
from fvm_core.jobs.folder import JobFolder, JobSpec
from fvm_core.jobs.kinds import LIGHT, load_kind
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.slots import Slot, max_running
from fvm_core.jobs.status import JobStatus, StatusWriter, read_status

RESERVE = 64 * 1024
DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclass(frozen=True)
class Outcome:
    """How a run of a job ended, and the exception behind a failure."""

    status: JobStatus
    error: Exception | None = None


def work(
    folder: JobFolder,
    lock: FileLock,
    *,
    echo: Callable[[JobStatus], None] | None = None,
    dress: Callable[[JobContext], JobContext] | None = None,
) -> Outcome:
    """Do the work of a job whose lock this process holds, and free the lock.

    `dress` may put a context of its own around the job's, once it runs (to share it between processes). SIGTERM and
    SIGINT ask it to save its state and stop; a second one ends it at once.

    Raises:
        JobError: the folder is damaged.
    """
    try:
        spec = folder.read_spec()
        status = read_status(folder) or fresh_status(spec)
        status = replace(status, state="queued", error="", result=None, seconds_left=None)
        writer = StatusWriter(folder, status, echo=echo)
        with ExitStack() as held, stop_on_signals() as halt:
            changes, error = _attempt(folder, spec, writer, halt, held, dress)
            _write_end(writer, {"seconds_left": None, **changes})
        return Outcome(writer.status, error)
    finally:
        lock.release()


def fresh_status(spec: JobSpec) -> JobStatus:
    """Return the status of a job that nobody has worked on yet."""
    return JobStatus(spec.id, spec.kind, spec.title, "queued", created=spec.created, updated=spec.created)


def _attempt(
    folder: JobFolder,
    spec: JobSpec,
    writer: StatusWriter,
    halt: Halt,
    held: ExitStack,
    dress: Callable[[JobContext], JobContext] | None,
) -> tuple[dict[str, Any], Exception | None]:
    """Return the last changes of the status and the error; `held` keeps the slot until those are written."""
    try:
        sweep(folder.root)
        writer.update(now=True)
        folder.reserve.write_bytes(bytes(RESERVE))
        slot = None if spec.kind in LIGHT else Slot(folder.workspace, count=max_running())
        context = DiskContext(folder, writer, slot=slot, halt=halt)
        held.callback(context.close)
        context.begin()
        result = load_kind(spec.kind)(dress(context) if dress else context, spec.args, folder.workspace)
        result = json.loads(json.dumps(result or {}))
        return {"state": "done", "result": result, "done": writer.status.total or writer.status.done}, None
    except JobStopped:
        return {"state": "stopped", "error": _why(halt)}, None
    except FVMError as error:
        return {"state": "failed", "error": str(error)}, error
    except Exception as error:
        _log_traceback(folder)
        if isinstance(error, OSError) and error.errno in DISK_REFUSES:
            return {"state": "failed", "error": _disk_message(error)}, error
        line = (str(error).strip().splitlines() or ["no message"])[0]
        return {
            "state": "failed",
            "error": f"{type(error).__name__}: {line} (a defect; the log has the details)",
        }, error


def _why(halt: Halt) -> str:
    """Return why a job stopped that nobody asked to: a person's own Ctrl-C needs no word."""
    if halt.number in (0, signal.SIGINT):
        return ""
    return (
        f"The process was told to end ({signal.Signals(halt.number).name}): by the system, by a queue, or by torchrun "
        "where another worker was lost. What is kept stays: start it again, and it goes on."
    )


def _disk_message(error: OSError) -> str:
    where = f"`{error.filename}`" if error.filename else "A file"
    return f"{where} could not be written ({error.strerror}). Free disk space, then resume the job."


def _write_end(writer: StatusWriter, changes: dict[str, Any]) -> None:
    """Write the last word even on a full disk: the reserve makes room for it."""
    writer.folder.reserve.unlink(missing_ok=True)
    try:
        writer.update(now=True, **changes)
    except StorageError as error:
        with suppress(OSError):
            print(error, file=sys.stderr, flush=True)


def _log_traceback(folder: JobFolder) -> None:
    with suppress(OSError), folder.log.open("a", encoding="utf-8") as log:
        traceback.print_exc(file=log)


class Halt(threading.Event):
    """Set when a signal asked to stop; `number` is the signal's, 0 before."""

    number = 0


@contextmanager
def stop_on_signals() -> Iterator[Halt]:
    """Yield an event that the first SIGTERM, SIGINT or SIGHUP sets; ignored signals stay ignored (nohup).

    A forked child (a pool's worker) inherits the handler but must die of the signal as usual.
    """
    halt, owner = Halt(), os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield halt
        return

    def ask(number: int, frame: object) -> None:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if os.getpid() == owner:
            halt.number = number
            halt.set()
        else:
            os.kill(os.getpid(), number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, ask)
    try:
        yield halt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def enter_working_folder(spec: JobSpec) -> None:
    """Go to the folder where the job was started, so that relative paths in its arguments hold (if it still exists)."""
    if spec.cwd and Path(spec.cwd).is_dir():
        os.chdir(spec.cwd)
