"""Cells on a Dask cluster: the same tasks and outcomes as in processes of this machine.

Workers run this checkout (in it, ``PYTHONPATH=. dask worker ADDRESS --nthreads 1``) and see the archive under
the same path, where a cell's state lies: a cell whose worker is lost goes on from it on another one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from bbtheory.provenance import commit
from experiments._cells import FAILED, Outcome, Task, explain, run_cell

if TYPE_CHECKING:
    from distributed import Client

_PATIENCE = 10  # seconds for a scheduler to answer, and for a first worker to come
_FORSAKEN = 600  # seconds without any worker until a sweep gives up
_LOOK = 10  # seconds between looks at how many workers there are
_LOST = "the scheduler is lost; finished cells are kept, run it again to go on"
# threads of a worker would share warnings, random state and caches: its cells run one after the other
_ONE_AT_A_TIME = threading.Lock()


class NoClusterError(Exception):
    """There is no scheduler at the address, it has no workers, or they run other code."""


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a running scheduler whose workers run this checkout at this commit.

    Raises
    ------
    NoClusterError
        If there is none, or it is lost later.
    """
    from distributed import Client

    # what goes wrong is said once, in one line, by what is raised here
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise NoClusterError(f"no Dask scheduler answers at {address!r}: {_last(error)}") from None
    with client:
        _check_workers(client, address)
        yield client


def _check_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise NoClusterError(
            f"the scheduler at {address} has no workers: PYTHONPATH=. dask worker {address} --nthreads 1"
        ) from None
    ours = commit()[0]
    for worker, theirs in client.run(_commit, on_error="return").items():
        if isinstance(theirs, BaseException):
            raise NoClusterError(f"worker {worker} must run this checkout (PYTHONPATH=.): {_last(theirs)}")
        if theirs != ours:
            raise NoClusterError(f"worker {worker} must run commit {ours[:12]}, got {theirs[:12]}")


def _commit() -> str:
    return commit()[0]


def _run_alone(task: Task) -> Outcome:
    with _ONE_AT_A_TIME:
        return run_cell(task)


def spread_on(client: Any, tasks: Iterator[Task]) -> Iterator[Outcome]:
    """Yield the outcome of each task as it ends; as many are under way as there are workers.

    Tasks of a worker that is lost are run again by the scheduler; one that has cost several workers fails.

    Raises
    ------
    NoClusterError
        If the scheduler is lost, or all workers are and none comes.
    """
    from distributed import wait
    from distributed.scheduler import KilledWorker

    under_way: dict[Any, Task] = {}
    last_seen = time.monotonic()
    try:
        while True:
            n_workers = len(client.nthreads())
            now = time.monotonic()
            last_seen = now if n_workers else last_seen
            if now - last_seen > _FORSAKEN:
                raise NoClusterError("all workers are lost; finished cells are kept, run it again to go on")
            # not pure: a cell is run for its place in the archive, whatever the scheduler remembers
            for task in itertools.islice(tasks, max(0, max(1, n_workers) - len(under_way))):
                under_way[client.submit(_run_alone, task, pure=False)] = task
            if not under_way:
                return
            with suppress(TimeoutError):
                with client.as_current():
                    ended: Any = wait(list(under_way), timeout=_LOOK, return_when="FIRST_COMPLETED")
                for future in ended.done:
                    # a result may be lost with its worker before it is here, and is then made again
                    error = future.exception(timeout=_LOOK)
                    task = under_way[future]
                    if error is None:
                        outcome = future.result(timeout=_LOOK)
                    elif isinstance(error, KilledWorker):
                        cost = f"it cost {error.allowed_failures + 1} workers in turn"
                        outcome = Outcome(task, FAILED + cost, None, {})
                    else:
                        outcome = Outcome(task, FAILED + explain(error), None, {})
                    del under_way[future]
                    yield outcome
    except (OSError, asyncio.CancelledError, concurrent.futures.CancelledError):
        raise NoClusterError(_LOST) from None
    finally:
        with suppress(OSError):
            client.cancel(list(under_way))


def _last(error: BaseException) -> str:
    """Return the innermost reason of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
