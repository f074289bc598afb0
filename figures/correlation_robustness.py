"""Does the balance survive correlated units?

Against the mean correlation of pairs: the line that the local rule reaches, the line of coupled units with
its prediction, the optimum under a budget with different statistics held fixed, and how much entropy the sum
over units overstates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures._drawing import LOOKS, PREDICTED, Drawing, line, number_of, points

if TYPE_CHECKING:
    from experiments.correlation_robustness import Result

SOURCES = ("correlation_robustness",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): assumption A2, units are only weakly correlated"


def draw(figure: Drawing, result: Result) -> str:
    """Draw slopes and entropies against correlation."""
    figure.set_size_inches(9.5, 6.8)
    rule, coupled, optimum, entropy = figure.subplots(2, 2).flat
    level = result.correlations
    n_seeds = result.rule.shape[-1]
    across = f"mean correlation of pairs; {number_of(n_seeds, 'seed')}"

    slope = result.interval("rule", "slope") / result.beta
    for row, (name, look) in enumerate(zip(result.rules, LOOKS, strict=False)):
        mean, low, high = slope[row].T
        points(rule, name, level, mean, look, y_interval=(low, high), joined=True)
    line(rule, "the line", level, 1.0 + 0.0 * level, PREDICTED, lw=0.9)
    rule.set(ylim=(0, 1.35), xlabel=across, ylabel="fitted slope / beta (ratio)")
    rule.set_title("Units under the local rule")
    rule.legend(loc="lower left")

    for number, name, look, joined in (
        ("slope", "measured", LOOKS[0], False),
        ("slope_corrected", "measured, shift of theory subtracted", LOOKS[2], True),
    ):
        mean, low, high = (result.interval("coupled", number) / result.beta).T
        points(coupled, name, level, mean, look, y_interval=(low, high), joined=joined)
    mean = result.interval("coupled", "slope_predicted")[:, 0] / result.beta
    line(coupled, "predicted (exact)", level, mean)
    coupled.set(xlabel=across, ylabel="slope / price of a link (ratio)")
    coupled.set_title("Coupled units at a price per link")
    coupled.legend(loc="lower left")

    ratio = result.interval("optimum", "slope_ratio")
    names = {"coactivation": "co-activations held", "covariance": "covariances held"}
    for row, (hold, look) in enumerate(zip(result.holds, LOOKS, strict=False)):
        mean, low, high = ratio[row].T
        name = names.get(hold, "correlations held")
        points(optimum, name, level, mean, look, y_interval=(low, high), joined=True)
    optimum.axhspan(0.9, 1.1, color="0.93", zorder=0, lw=0)
    optimum.set(xlabel=across, ylabel="slope / multiplier of the budget (ratio)")
    optimum.set_title("Exact optimum; grey: within 10 %")
    optimum.legend(loc="lower left")

    share = result.interval("patterns", "share")
    large = result.interval("large", "share")
    rows = [(int(n), one) for n, one in zip(result.sizes, share, strict=True)]
    rows += [(int(n), one) for n, one in zip(result.large_sizes, large, strict=True)]
    for (n, one), look in zip(rows, LOOKS, strict=False):
        mean, low, high = one.T
        points(entropy, f"{n} units", level, mean, look, y_interval=(low, high), joined=True)
    entropy.set(xlabel=across, ylabel="(sum h - H) / sum h (share of the entropy)")
    entropy.set_title("Patterns against the sum over units")
    entropy.legend(loc="upper left")
    return (
        f"Means over {number_of(n_seeds, 'seed')} with 95 % intervals, against the mean correlation of "
        "pairs; 0 is the control. The rule sees each unit alone, so its line stays; where co-activations "
        "are held the line moves at first order, where covariances or correlation coefficients are held it "
        "hardly does."
    )
