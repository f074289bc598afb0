"""Units that obey the local rule and nothing else: what tests of the refresh map are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def live(
    respond: Callable[[np.ndarray], np.ndarray],
    estimate: np.ndarray,
    *,
    beta: float,
    d0: float,
    max_degree: float,
    interval: int,
    ema_decay: float,
    n_refreshes: int,
    sample: Callable[[np.ndarray], np.ndarray],
    min_degree: float = 0.0,
    step_fraction: float = 1.0,
    whole: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return estimates and degrees after each refresh, the one at the start included, (n_refreshes + 1, n).

    ``sample`` makes of on-rates what a batch shows of them.
    """

    def target(seen: np.ndarray) -> np.ndarray:
        seen = np.clip(seen, 1e-12, 1.0 - 1e-12)
        k = np.clip(d0 + (np.log1p(-seen) - np.log(seen)) / beta, min_degree, max_degree)
        return np.rint(k) if whole else k

    degree = target(estimate)
    estimates, degrees = [estimate], [degree]
    for _ in range(n_refreshes):
        on_rate = respond(degree)
        for _ in range(interval):
            estimate = ema_decay * estimate + (1.0 - ema_decay) * sample(on_rate)
        degree = (1.0 - step_fraction) * degree + step_fraction * target(estimate)
        estimates.append(estimate)
        degrees.append(degree)
    return np.array(estimates), np.array(degrees)


def binomial(batch: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return what a batch shows: the part of its samples on which each unit is on."""
    return lambda on_rate: rng.binomial(batch, on_rate) / batch


def normal(batch: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return the same in the limit of a large batch, several times faster."""
    return lambda a: a + np.sqrt(a * (1.0 - a) / batch) * rng.standard_normal(a.size)


def exact(on_rate: np.ndarray) -> np.ndarray:
    """Return the on-rates themselves."""
    return on_rate
