"""What one experiment file holds, and what its ``run`` is given.

An experiment is one file ``experiments/NAME.py``; discovery does the rest. It holds

its docstring
    first line: the question; then the source, time and device, and what would count against the claim.
``Config``
    a frozen dataclass whose defaults are the full setting; random seeds are the tuple field ``seeds``.
``SMOKE``, ``CPU`` and, where it pays, ``GPU``
    presets of it: at most 3 s, 30 minutes on 2 cores, cells of 3 minutes. ``full`` is ``Config()``.
``Result``
    a `bbtheory.Record`: what the experiment found, without times or dates.
``run(config, progress) -> Result``
    the work: deterministic, no files, no plots, no parsing; `Progress` is its only door.

A sweep cuts itself into cells, which the driver skips, resumes and spreads over processes and machines:

``cells(config) -> list[Config]``
    the settings of the cells, each run on its own by ``run``.
``Cell``
    the record that ``run`` then returns, where it differs from ``Result``.
``collect(config, cells) -> Result``
    the records of all cells, in the order of ``cells(config)``, made into one. Where each of its
    ``rows`` sums up the next ``n`` cells, they are shown with their mean seconds.

A record is named by its settings without the seeds, which it states: a preset with more seeds runs the new
cells only and replaces the record, one that lacks some of its seeds does so only with --force.

Figures and checks import an experiment to read its records, so torch and peers are imported inside ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class NotRun(Exception):  # noqa: N818  # no error: the run goes on
    """Raised by ``run`` where a peer, device or data set is missing: ``NotRun("cvxpy")``.

    The message is ``needs cvxpy``, the record's status ``not run: needs cvxpy``; other experiments go on.
    """

    def __init__(self, what: str):
        # an exception is copied to another process by its message
        super().__init__("needs " + what.removeprefix("needs "))


class Progress:
    """What ``run`` may do to the world outside; this base does nothing, so ``run(config, Progress())`` works.

    Parameters
    ----------
    data_root : Path, optional
        Folder of the measured data sets; None: the one that BBTHEORY_DATA names.
    """

    def __init__(self, data_root: Path | None = None):
        self.data_root = data_root

    def restore(self) -> dict[str, Any] | None:
        """Return the last state saved by a run of these settings that was cut off, or None.

        Arrays come back as they were, tuples as lists, NumPy scalars as Python's.
        """
        return None

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep what a cut-off run needs to go on; call it at most once an epoch.

        Arrays, numbers, text, lists and dicts of them, random state (``rng.bit_generator.state``) included.
        """

    def total(self, n: int) -> None:
        """Say how many ticks the run has in all."""

    def tick(self, k: int = 1) -> None:
        """Say that ``k`` more are done."""
