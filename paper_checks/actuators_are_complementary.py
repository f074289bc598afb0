"""Do SP-in and SP-out together do better than either alone, on rare words?

Rule: the measure is perplexity on rare words at the same density. The record has effects of each actuator
against equal degrees and the interaction, what both do beyond their sum, each paired with an interval at
95 %. Both less SP-in is the effect of SP-out plus the interaction, and the other way round; intervals of
sums take the sum of the half-widths, which is wider than needed whatever their correlation. Confirmed if both
differences lie below 0, refuted if one lies above 0, undecided otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.actuator_ablation import Result

CLAIM = "SP-in and SP-out correct different deviations, and together do better than either alone."
PAPER = "arXiv 2510.01263, the two actuators and their linear response; known from summaries"
SOURCES = ("actuator_ablation",)

Interval = tuple[float, float, float]


def check(result: Result) -> CheckResult:
    """Compare both actuators with each one."""
    density = result.interactions[0].wanted
    extra = result.interactions[0]
    interaction = (extra.interaction, extra.interaction_low, extra.interaction_high)
    effects = {
        row.method: (row.effect, row.effect_low, row.effect_high)
        for row in result.rows
        if row.wanted == density
    }
    less = {
        "SP-in": total(effects["bb_out"], interaction),
        "SP-out": total(effects["bb_in"], interaction),
    }
    worst = max(less, key=lambda name: less[name][0])
    if all(high < 0 for _, _, high in less.values()):
        verdict = CONFIRMED
    elif any(low > 0 for _, low, _ in less.values()):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    each = ", ".join(f"{name} {m:+.3f} [{low:+.3f}, {high:+.3f}]" for name, (m, low, high) in less.items())
    mean, low, high = interaction
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="below 0 against either",
        observed=less[worst][0],
        interval=less[worst][1:],
        verdict=verdict,
        note=(
            f"perplexity on rare words under both less that under one, density {density:g}, n = {extra.n} "
            f"seeds, 95 % at least: {each}. Interaction {mean:+.3f} [{low:+.3f}, {high:+.3f}]; against equal "
            "degrees "
            + ", ".join(
                f"{name} {e[0]:+.3f} [{e[1]:+.3f}, {e[2]:+.3f}]"
                for name, e in effects.items()
                if name in ("bb_in", "bb_out", "bb_both")
            )
        ),
    )


def total(first: Interval, second: Interval, sign: float = 1.0) -> Interval:
    """Return the sum, or difference, of two estimates with an interval that holds in any case."""
    mean = first[0] + sign * second[0]
    half = 0.5 * (first[2] - first[1] + second[2] - second[1])
    return mean, mean - half, mean + half
