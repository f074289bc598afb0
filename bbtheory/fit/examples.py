"""Two small generated files with known truth: a density-saliency curve and a table of units."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bbtheory.tables import write_csv
from bbtheory.theory.entropy import on_rate_from_log_odds

EXPONENT, PREFACTOR = 0.8, 0.05  # of the curve between its breaks: density = 0.05 saliency^-0.8, and noise
OUTER_EXPONENTS, BREAKS = (0.1, 2.0), (0.8, 0.0015)  # outside the breaks; densities there
BETA, D0 = 0.12, 6.0  # of layer 1: log-odds = 0.12 (fan_out - 6), and noise
TAU = 4.0  # of layer 2: on_rate * fan_out = 4, and noise
_NOISE = {"curve": 0.03, "line": 0.25, "hyperbola": 0.15}  # of ln density, of log-odds, of ln on_rate
_DIGITS = 6


def write_examples(folder: str) -> tuple[Path, Path]:
    """Write curve.csv and units.csv into ``folder`` (made if need be) and return their paths.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    curve, units = target / "curve.csv", target / "units.csv"
    write_csv(curve, make_curve(np.random.default_rng(0)))
    write_csv(units, make_units(np.random.default_rng(1)))
    return curve, units


def make_curve(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return 48 points of a pruning law with three regions; density in percent."""
    saliency = np.geomspace(1e-3, 500.0, 48)
    breaks = (PREFACTOR / np.array(BREAKS)) ** (1.0 / EXPONENT)
    law = PREFACTOR * np.clip(saliency, *breaks) ** -EXPONENT
    law *= np.minimum(saliency / breaks[0], 1.0) ** -OUTER_EXPONENTS[0]
    law *= np.maximum(saliency / breaks[1], 1.0) ** -OUTER_EXPONENTS[1]
    density = np.minimum(law * np.exp(rng.normal(0.0, _NOISE["curve"], saliency.size)), 1.0)
    accuracy = 94.0 - 0.0005 / density + rng.normal(0.0, 0.3, saliency.size)
    return {
        "Saliency": np.array([float(f"{s:.{_DIGITS}g}") for s in saliency]),
        "Remaining": np.round(100.0 * density, 4),
        "Accuracy": np.round(accuracy, 2),
    }


def make_units(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return two layers of 64 units, one on the balance and one on the hyperbola, three of them dead."""
    n = 64
    line = rng.integers(1, 33, n)
    a_line = on_rate_from_log_odds(BETA * (line - D0) + rng.normal(0.0, _NOISE["line"], n))
    a_line[:3] = 0.0
    curved = rng.integers(8, 129, n)
    a_curved = np.minimum(TAU / curved * np.exp(rng.normal(0.0, _NOISE["hyperbola"], n)), 0.99)
    return {
        "layer": np.repeat([1, 2], n),
        "unit": np.tile(np.arange(n), 2),
        "on_rate": np.round(np.concatenate([a_line, a_curved]), _DIGITS),
        "fan_out": np.concatenate([line, curved]),
    }
