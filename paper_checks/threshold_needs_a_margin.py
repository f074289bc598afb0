"""By how much must tau exceed the traffic of rare units, if their on-rates are running averages?

Rule: perfect detectors under the threshold rule as a ratchet. Confirmed if under every EMA and batch size
they lose links at tau = p_rare k (95 % interval over seeds above 0), and at the predicted margin the share
of units that ever lose one is at most the risk it was made for (no interval above it); refuted if one of
the two fails; also if links are lost with tau above all traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

if TYPE_CHECKING:
    from experiments.threshold_margin import Result

CLAIM = (
    "Units of on-rate p keep their links through R refreshes, all but a share q of them, if tau/(p k) >= "
    "1 + z s, s = sqrt((1-p)(1-M)/(p batch (1+M))), M the EMA decay, z the upper q/R quantile of "
    "their noise; at tau = p k they lose some."
)
PAPER = "this project's derivation for the threshold rule of arXiv 2510.01263"
SOURCES = ("threshold_margin",)
OWN_THEORY = True


def check(result: Result) -> CheckResult:
    """Look at the links lost at p_rare k, and at the units that lose any at the predicted margin."""
    ratchet = result.lost[:, :, result.rules.index("ratchet")]
    one = int(np.argmin(np.abs(result.margins - 1.0)))
    exact = ratchet[:, :, one]
    idle = result.lost[..., -1, 0]
    held = (result.any_lost[..., 1] <= result.risk).all() and (exact[..., 1] > 0).all() and (idle == 0).all()
    worst = np.unravel_index(result.any_lost[..., 0].argmax(), result.any_lost.shape[:2])
    share = result.any_lost[worst]
    ratio = (result.needed_margin[..., 0] - 1.0) / (result.predicted_margin - 1.0)
    regrown = result.lost[:, :, result.rules.index("regrowth"), one, 0]
    note = (
        f"largest share of units that lose a link at the predicted margin (risk {result.risk}, "
        f"{result.n_refreshes} refreshes), 95 % interval. Needed less 1 over predicted less 1: "
        f"{ratio.min():.2f} to {ratio.max():.2f}; margins of {result.needed_margin[..., 0].min():.3f} to "
        f"{result.needed_margin[..., 0].max():.3f} for averages over {result.effective.max():.0f} to "
        f"{result.effective.min():.0f} examples. At tau = p k a ratchet loses {exact[..., 0].min():.1%} to "
        f"{exact[..., 0].max():.1%} of the links, with regrowth {regrown.min():.1%} to {regrown.max():.1%}"
    )
    at = np.isclose(result.margins, 1.3)
    if at.any():
        spared = ratchet[:, :, at, 0][..., 0]
        none = result.effective[spared == 0]
        note += f"; at 1.3 p k {spared.max():.2%} at most" + (
            f", none from {none.min():.0f} examples on" if none.size else ""
        )
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=result.risk,
        observed=float(share[0]),
        interval=(float(share[1]), float(share[2])),
        verdict=CONFIRMED if held else REFUTED,
        note=note,
    )
