"""Rare features: who pays less than tau keeps its links

Left: what detectors of rare and of common terms of a DNF pay after pruning, against the threshold tau: below
p k a unit is spared, above it is trimmed to tau. Right: the share of rare terms still recognised, beside
rivals that prune the same network to the same density.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bbtheory.fit.uncertainty import mean_low_high
from figures._drawing import LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.rare_features_dnf import Result

SOURCES = ("rare_features_dnf",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): rare and common features of a DNF under the traffic threshold"

_METHODS = {
    "bb": "Budgeted Broadcast",
    "magnitude_unit": "magnitude, equal fan-in",
    "magnitude_global": "magnitude, global",
    "random_unit": "random, equal fan-in",
    "uniform": "equal fan-out, magnitude",
    "none": "no pruning",
}
_ARM = "rare.{}.threshold.sp_out"


def draw(figure: Drawing, result: Result) -> str:
    """Draw traffic against the threshold, and how many rare terms survive."""
    figure.set_size_inches(10.5, 4.4)
    traffic, kept = figure.subplots(1, 2)
    arms = [arm for arm in result.arms if arm.startswith("rare.") and arm.endswith(".threshold.sp_out")]
    arms = sorted(arms, key=lambda arm: result.tau[result.arms.index(arm)])
    tau = np.array([result.tau[result.arms.index(arm)] for arm in arms])
    n_seeds = len(result.numbers)
    # the control's threshold is twice the links that a unit can have
    n_links = result.tau[result.arms.index(_ARM.format("idle"))] / 2.0
    chances = result.term_probability[result.arms.index(arms[0])]
    fine = np.geomspace(0.8 * tau[0], 1.2 * tau[-1], 600)

    n_detectors = []
    for kind, p, look in (("rare", chances[0], LOOKS[0]), ("common", chances[-1], LOOKS[1])):
        law = p * np.minimum(n_links, np.floor(fine / p))
        line(traffic, f"{kind} (p = {p:.3g}): p min(k, floor(tau/p))", fine, law, look)
        pairs = [
            result.of(f"{kind}_on_rate", arm, "bb") * result.of(f"{kind}_links", arm, "bb") * n_links
            for arm in arms
        ]
        mean, low, high = np.array([mean_low_high(values) for values in pairs]).T
        points(traffic, f"{kind}, measured", tau, mean, look, y_interval=(low, high), ms=6)
        n = np.nanmean([result.of(f"{kind}_detectors", arm, "bb") for arm in arms])
        n_detectors.append(f"{n:.1f} {kind}")
    line(traffic, "budget: traffic = tau", fine, fine, LOOKS[6], lw=1.0)
    for arm, place in zip(arms, tau, strict=True):
        level = arm.split(".")[1]
        traffic.text(place, 60, level, rotation=90, ha="center", va="top", fontsize=8, color="0.35")
    log_scale(traffic, "x")
    log_scale(traffic, "y")
    log_scale(kept, "x")
    traffic.set(
        ylim=(0.08, 70),
        xlabel=f"threshold tau (links per step); {number_of(n_seeds, 'seed')}",
        ylabel=f"traffic of detectors a k (links per step)\n{' and '.join(n_detectors)} a network",
    )
    traffic.legend(loc="lower right")
    traffic.set_title("Traffic against tau")

    shifts = np.geomspace(0.9, 1.11, len(_METHODS))
    for (method, name), look, shift in zip(_METHODS.items(), LOOKS, shifts, strict=False):
        values = [mean_low_high(result.of("rare_kept", arm, method)) for arm in arms]
        mean, low, high = np.array(values).T
        points(kept, name, tau * shift, mean, look, y_interval=(low, high), joined=True)
    n_rare = int((chances == chances[0]).sum())
    kept.set(
        ylim=(-0.02, 1.05),
        xlabel=f"threshold tau (links per step); {number_of(n_seeds, 'seed')}",
        ylabel=f"share of the {n_rare} rare terms recognised",
    )
    kept.legend(loc="center right")
    kept.set_title("Rare terms kept, all at the density that Budgeted Broadcast ends at")
    density = [np.nanmean(result.of("density", arm, "bb")) for arm in arms]
    listed = ", ".join(f"{d:.2f} at tau = {t:g}" for d, t in zip(density, tau, strict=True))
    return (
        f"A network learns a DNF of {n_rare} rare terms and a common one while the threshold rule (SP-out) "
        f"cuts links; {number_of(n_seeds, 'seed')}, means with 95 % intervals, methods side by side for "
        "clarity. A term counts as recognised from P(yes | only this term) - P(yes | no term) >= 0.9 on. "
        f"Mean densities: {listed}; the last is the control that cuts nothing; at the level floor every unit "
        "keeps a link. Detectors correlate with their term to 0.4 or more, so their on-rates need not be p."
    )
