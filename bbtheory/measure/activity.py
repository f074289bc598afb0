"""On-rates of units and how sure they are, from samples, blocks of samples, or exact probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.entropy import inactivity_log_odds


@dataclass(frozen=True, eq=False)
class Activity(Record):
    """How often each unit is on.

    Attributes
    ----------
    on_rate : ndarray (n_units,)
        a_i, the fraction of samples in which the unit is on.
    on_rate_stderr : ndarray (n_units,)
        From the scatter of the means of blocks of ``block_length`` samples; 0 if exact, and 0 for a unit
        whose blocks are all alike: `on_rate_interval` says what may still hide there.
    effective_samples : ndarray (n_units,)
        Independent samples that would give this standard error, a_i (1-a_i)/stderr^2, never more than
        ``n_samples``; infinite if exact.
    n_samples : int
    block_length : int
    threshold : float
        A unit is on where its activity is above it.
    level : float
        Of the intervals.
    exact : bool
        Whether the rows were all cases with their probabilities.
    """

    KIND: ClassVar[str] = "activity"
    UNITS: ClassVar[dict[str, str]] = {
        "on_rate": "on_rate",
        "on_rate_stderr": "on_rate_stderr",
        "on_rate_low": "on_rate_low",
        "on_rate_high": "on_rate_high",
        "effective_samples": "effective_samples",
        "dead": "dead",
        "saturated": "saturated",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("n_units", "n_dead", "n_saturated")

    on_rate: np.ndarray
    on_rate_stderr: np.ndarray
    effective_samples: np.ndarray
    n_samples: int
    block_length: int
    threshold: float
    level: float
    exact: bool

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.on_rate.size

    @property
    def dead(self) -> np.ndarray:
        """Units never seen on, (n_units,) bool."""
        return self.on_rate == 0

    @property
    def saturated(self) -> np.ndarray:
        """Units never seen off, (n_units,) bool."""
        return self.on_rate == 1

    @property
    def n_dead(self) -> int:
        """Number of units never seen on."""
        return int(np.count_nonzero(self.dead))

    @property
    def n_saturated(self) -> int:
        """Number of units never seen off."""
        return int(np.count_nonzero(self.saturated))

    @property
    def on_rate_interval(self) -> np.ndarray:
        """Score interval of each on-rate at ``level`` (Wilson, 1927), (n_units, 2)."""
        z2 = NormalDist().inv_cdf(0.5 * (1.0 + self.level)) ** 2 / self.effective_samples
        a = self.on_rate
        half = np.sqrt(z2 * (a * (1.0 - a) + 0.25 * z2))
        ends = (a[:, None] + 0.5 * z2[:, None] + half[:, None] * np.array([-1.0, 1.0])) / (1.0 + z2[:, None])
        # rounding would leave some 1e-19 below 0
        return np.clip(ends, 0.0, 1.0)

    @property
    def on_rate_low(self) -> np.ndarray:
        """Lower ends of `on_rate_interval`."""
        return self.on_rate_interval[:, 0]

    @property
    def on_rate_high(self) -> np.ndarray:
        """Upper ends of `on_rate_interval`."""
        return self.on_rate_interval[:, 1]

    @property
    def inactivity_log_odds(self) -> np.ndarray:
        """L(a_i) = ln((1-a_i)/a_i), nats; infinite for dead and saturated units."""
        return inactivity_log_odds(self.on_rate)

    @property
    def inactivity_log_odds_stderr(self) -> np.ndarray:
        """stderr/(a_i (1-a_i)), nats; infinite for dead and saturated units, unless exact."""
        chi = self.on_rate * (1.0 - self.on_rate)
        silent = chi == 0
        error = self.on_rate_stderr / np.where(silent, 1.0, chi)
        return np.where(silent, 0.0 if self.exact else np.inf, error)


def measure_activity(
    samples: ArrayLike | Iterator[ArrayLike],
    *,
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
    block_length: int = 1,
    level: float = 0.95,
) -> Activity:
    """Measure on-rates, a_i = mean over samples of [activity_i > threshold], with standard errors.

    stderr_i^2 = s_i^2 L/n, s_i^2 the variance of the means of n/L consecutive blocks of L samples; for L = 1
    that is a_i (1-a_i)/(n-1).

    Parameters
    ----------
    samples : array_like (n_samples, n_units), or an iterator of such blocks
        Activities, bool or numbers. An iterator (a generator over a data loader, say) is read once and never
        held; its blocks follow each other in time and may differ in length.
    threshold : float
        A unit is on where its activity is above it; 0 reads bool and 0-1 samples as they are.
    weights : array_like (n_samples,), >= 0, optional
        The rows are all cases there are, these their relative probabilities: on-rates are exact. Not with an
        iterator or with ``block_length``.
    block_length : int >= 1, samples
        L. Samples that follow each other in time are correlated: make it long against the correlation time.
    level : float in (0, 1)
        Of `Activity.on_rate_interval`.

    Returns
    -------
    Activity

    Raises
    ------
    ValueError
        If samples are not finite, of unequal width or fewer than two blocks, or an argument is outside its
        domain.

    References
    ----------
    Block means as independent observations: Flyvbjerg and Petersen, J. Chem. Phys. 91 (1989) 461.

    Examples
    --------
    >>> from bbtheory.measure import measure_activity
    >>> found = measure_activity([[0, 1], [1, 0], [0, 0], [0, 0]])
    >>> found.on_rate.tolist(), found.n_dead
    ([0.25, 0.25], 0)
    """
    threshold = validate.real("threshold", threshold, "(-inf, inf)")
    block_length = validate.integer("block_length", block_length, "[1, inf)")
    level = validate.real("level", level, "(0, 1)")
    if weights is not None:
        if isinstance(samples, Iterator) or block_length > 1:
            raise ValueError("weights must be None with an iterator of blocks or a block_length above 1")
        rows = binary_rows(samples, threshold)
        p = probabilities(weights, rows.shape[0])
        # rounding may leave some 1e-16 above 1
        on_rate = np.minimum(p @ rows, 1.0)
        always = rows[p > 0].all(axis=0)
        on_rate[always] = 1.0
        nothing, endless = np.zeros_like(on_rate), np.full_like(on_rate, np.inf)
        return Activity(on_rate, nothing, endless, rows.shape[0], 1, threshold, level, True)
    blocks: Iterable[ArrayLike] = samples if isinstance(samples, Iterator) else (samples,)
    counts = _Counts(block_length)
    for block in blocks:
        counts.add(binary_rows(block, threshold))
    return counts.activity(threshold, level)


class _Counts:
    """Sums over blocks of samples that arrive in pieces of any length."""

    def __init__(self, length: int):
        self.length = length
        self.n_samples = 0
        self.n_blocks = 0
        # on-counts: in all samples, in the unfinished block, squared and summed over the finished blocks
        self.on = self.open = self.finished = self.squares = np.zeros(0, dtype=np.int64)

    def add(self, rows: np.ndarray) -> None:
        if self.n_samples == 0:
            self.on, self.open, self.finished, self.squares = np.zeros((4, rows.shape[1]), dtype=np.int64)
        elif rows.shape[1] != self.on.size:
            raise ValueError(f"samples must have {self.on.size} units in every block, got {rows.shape[1]}")
        self.on += np.count_nonzero(rows, axis=0)
        if self.length > 1:
            missing = self.length - self.n_samples % self.length
            head, body = rows[:missing], rows[missing:]
            self.open += np.count_nonzero(head, axis=0)
            if len(head) == missing:
                self._finish(self.open[None, :])
                whole = len(body) - len(body) % self.length
                per_block = body[:whole].reshape(-1, self.length, rows.shape[1])
                self._finish(np.count_nonzero(per_block, axis=1))
                self.open = np.count_nonzero(body[whole:], axis=0)
        self.n_samples += len(rows)

    def _finish(self, counts: np.ndarray) -> None:
        self.n_blocks += len(counts)
        self.finished = self.finished + counts.sum(axis=0)
        self.squares = self.squares + (counts**2).sum(axis=0)

    def activity(self, threshold: float, level: float) -> Activity:
        if self.length == 1:
            # a count of 0 or 1 is its own square
            self.n_blocks, self.finished, self.squares = self.n_samples, self.on, self.on
        if self.n_blocks < 2:
            raise ValueError(
                f"samples must fill at least 2 blocks of block_length {self.length}, got {self.n_samples}"
            )
        n, m = self.n_samples, self.n_blocks
        # integers, so that a unit that never changes has a variance of exactly 0
        spread = m * self.squares - self.finished**2
        variance = spread / (m * (m - 1.0)) / self.length  # of one sample in effect, L s^2
        on_rate = self.on / n
        alone = on_rate * (1.0 - on_rate) * (n / (n - 1.0))
        effective = np.full(on_rate.size, float(m))
        seen = spread > 0
        effective[seen] = np.minimum(n * alone[seen] / variance[seen], n)
        return Activity(
            on_rate=on_rate,
            on_rate_stderr=np.sqrt(variance / n),
            effective_samples=effective,
            n_samples=n,
            block_length=self.length,
            threshold=threshold,
            level=level,
            exact=False,
        )


def binary_rows(samples: ArrayLike, threshold: float) -> np.ndarray:
    """Return which units are on, (n_samples, n_units) bool; ValueError for what is no such table."""
    validate.unmasked("samples", samples)
    try:
        raw = np.asarray(samples)
    except ValueError:
        raise ValueError("samples must be a rectangular array of numbers, got ragged rows") from None
    if raw.dtype.kind not in "biu":
        raw = validate.array("samples", raw, ndim=2)
    if raw.ndim != 2:
        raise ValueError(f"samples must have 2 axes, got shape {raw.shape}")
    if raw.size == 0:
        raise ValueError("samples must not be empty")
    if raw.dtype.kind == "b" and threshold == 0:
        return raw
    return raw > threshold


def probabilities(weights: ArrayLike, n: int) -> np.ndarray:
    """Return relative probabilities of n rows as probabilities that sum to 1."""
    w = validate.array("weights", weights, "[0, inf)", shape=(n,))
    largest = float(w.max())
    if largest == 0:
        raise ValueError("weights must have a value above 0, got none")
    p = w / largest  # so that a sum of large ones does not overflow
    return p / p.sum()
