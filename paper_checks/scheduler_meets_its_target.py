"""Does the pressure scheduler of Hyperflux end at the density it aims at?

Rule: a toy network is trained with the scheduler that follows a trajectory to a target density, presence
variables by Adam as in the authors' code. Confirmed if for every target the final density is within 10 % of
it, by the 95 % interval of the mean over seeds; refuted if for any that interval lies wholly outside;
undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.flux_density_toy import Result

CLAIM = "Pressure raised above and eased below the trajectory brings the network to its target density."
PAPER = "arXiv 2504.05349, the authors' code, PressureSchedulerPolicy1 (schedulers.py); before regrowth"
SOURCES = ("flux_density_toy",)

TOLERANCE = 0.1


def check(result: Result) -> CheckResult:
    """Look at the ratio of final density and target."""
    follow, ratchet = (result.recursions.index(r) for r in ("follow", "ratchet"))
    ratio = result.target_ratio[follow]
    low, high = result.target_ratio_interval[:, follow]
    if ((low > 1 + TOLERANCE) | (high < 1 - TOLERANCE)).any():
        verdict = REFUTED
    elif ((low >= 1 - TOLERANCE) & (high <= 1 + TOLERANCE)).all():
        verdict = CONFIRMED
    else:
        verdict = UNDECIDED
    worst = int(abs(ratio - 1).argmax())
    shown = ", ".join(
        f"{t:g}: {r:.3f} [{a:.3f}, {b:.3f}]"
        for t, r, a, b in zip(result.targets, ratio, low, high, strict=True)
    )
    other = ", ".join(f"{r:.3f}" for r in result.target_ratio[ratchet])
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted=1.0,
        observed=float(ratio[worst]),
        interval=(float(low[worst]), float(high[worst])),
        verdict=verdict,
        note=(
            f"final density over target, 95 % intervals over n = {result.n_seeds} seeds, {result.n_weights} "
            f"weights; by target {shown}. The variant that never eases ends at {other} of its targets"
        ),
    )
