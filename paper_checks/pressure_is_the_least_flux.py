"""Is the pressure the least flux of the weights that stay, at convergence?

Rule: the least flux is taken as the 5 % quantile of the flux of present weights, measured by removing them at
the end of runs under held pressures; of order gamma is read as within a factor of 3. Confirmed if the 95 %
interval over pressures of the mean of ln(least flux/gamma) lies within ln 3 of 0; refuted if it lies wholly
outside, or if the least flux is not positive at most pressures; undecided otherwise, or if it is not positive
at some.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_interval
from paper_checks._intervals import within
from paper_checks.protocol import REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.fixed_pressure_lenet import Result

CLAIM = "Under a held pressure gamma the least flux among the weights that remain is of order gamma."
PAPER = "arXiv 2504.05349, gamma as minimum flux; in the authors' code no flux is measured"
SOURCES = ("fixed_pressure_lenet",)

FACTOR = 3.0


def check(result: Result) -> CheckResult:
    """Compare the least flux with the pressure."""
    rows = [row for row in result.rows if row.flux_low > 0]
    logs = np.array([math.log(row.flux_low / row.pressure) for row in rows] or [np.nan])
    mean, (low, high) = mean_interval(logs)
    verdict = within([(float(low), float(high))], -math.log(FACTOR), math.log(FACTOR))
    missing = len(result.rows) - len(rows)
    if missing:
        verdict = REFUTED if 2 * missing > len(result.rows) else UNDECIDED
    each = ", ".join(f"{row.pressure:g}: {row.flux_low / row.pressure:.2g}" for row in rows)
    above = max((row.absent_above for row in result.rows), default=math.nan)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=f"a ratio from 1/{FACTOR:g} to {FACTOR:g}",
        observed=f"0 or less at {missing} of {len(result.rows)} pressures"
        if missing
        else float(np.exp(mean)),
        interval=None if missing else (float(np.exp(low)), float(np.exp(high))),
        verdict=verdict,
        note=(
            f"least flux over pressure where it is positive: {each or 'nowhere'}; with one at every "
            f"pressure their geometric mean is judged, 95 %, n = {len(result.rows)} pressures. Largest share "
            f"of absent weights whose flux exceeds the pressure: {above:.3f}"
        ),
    )
