"""Does the first region of a network's curve end at density 1/(1 + exponent), as for a pure power spectrum?

Rule: LeNets under a rising pressure; the first break of three lines against 1/(1 + alpha_0) of the line in
the window. Confirmed if for every width and data set both differ by less than a factor 1.25; refuted if for
at least 80 % of them they differ by more and their 95 % intervals over seeds do not meet; undecided
otherwise, or with fewer than 5 seeds. The note says whether the break of the curve that the measured
spectrum of fluxes predicts is nearer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.spectrum_predicts_exponent import Result

CLAIM = (
    "The first region of density under pressure ends at density 1/(1 + alpha_0), where the weight of least "
    "flux dies, for the fluxes of networks as for a pure power spectrum."
)
PAPER = (
    "this project's derivation, derive_region_end, of a power spectrum of fluxes without interaction; that "
    "networks have one is the claim, and no part of the derivation"
)
SOURCES = ("spectrum_predicts_exponent",)

FACTOR = 1.25
MOST = 0.8
MIN_SEEDS = 5


def check(result: Result) -> CheckResult:
    """Compare fitted breaks with the model's, and with those of the measured spectra."""
    rows = [row for row in result.rows if row.family == "hyperflux"]
    measured = np.array([row.first_break for row in rows])
    edge = np.array([row.edge for row in rows])
    spectrum = np.array([row.spectrum_break for row in rows])
    off = np.abs(np.log(measured / edge))
    apart = np.array(
        [row.first_break_high < row.edge_low or row.first_break_low > row.edge_high for row in rows]
    )
    verdict = UNDECIDED
    if rows and min(row.n for row in rows) >= MIN_SEEDS:
        if (off < np.log(FACTOR)).all():
            verdict = CONFIRMED
        elif np.mean(apart & (off >= np.log(FACTOR))) >= MOST:
            verdict = REFUTED
    shown = "; ".join(
        f"{row.data} {row.widths}: {row.first_break:.2f} [{row.first_break_low:.2f}, "
        f"{row.first_break_high:.2f}], 1/(1 + alpha) {row.edge:.2f}, of the spectrum {row.spectrum_break:.2f}"
        for row in rows
    )
    known = np.isfinite(off) & np.isfinite(spectrum)
    nearer = int(np.sum(np.abs(np.log(measured / spectrum))[known] < off[known])) if known.any() else 0
    worst = int(np.nanargmax(off)) if np.isfinite(off).any() else None
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=None if worst is None else rows[worst].edge,
        observed=None if worst is None else rows[worst].first_break,
        interval=None if worst is None else (rows[worst].first_break_low, rows[worst].first_break_high),
        verdict=verdict,
        note=(
            f"the one furthest off of {len(rows)}; densities, means over seeds with 95 % intervals: "
            f"{shown or 'none'}. The break predicted from the measured spectrum of the dense network is "
            f"nearer than 1/(1 + alpha) in {nearer} of {int(known.sum())}"
        ),
    )
