"""SP-in and SP-out: predicted response against what cutting does

Links of trained and of random units are cut one by one or by shares, and the change of every on-rate is
compared with what linear and finite response predict: who responds, how large the errors are, and how many
cuts are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import CONTROL, LOOKS, Drawing, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.actuator_response import Result

SOURCES = ("actuator_response",)
PAPER = "Budgeted Broadcast (arXiv 2510.01263): linear response of SP-in and SP-out to small pruning shocks"

_GROUPS = {
    "in first own": "SP-in, layer 1: the unit",
    "in first behind": "SP-in, layer 1: units behind",
    "in second own": "SP-in, layer 2: the unit",
    "out first own": "SP-out, layer 1: the unit",
    "out first behind": "SP-out, layer 1: units behind",
}
_FORMS = (("finite", LOOKS[0]), ("linear", LOOKS[1]))


def draw(figure: Drawing, result: Result) -> str:
    """Draw rank correlations, errors against fan-in, and numbers of cuts."""
    figure.set_size_inches(11.0, 4.2)
    ranks, errors, cuts = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    n_seeds = result.accuracy.size
    weakest, share = result.orders.index("weakest"), int(np.argmax(result.shares))
    stated = f"{result.shares[share]:.0%} of links"

    rows = np.arange(len(result.groups))[::-1]
    names = [_GROUPS[group] for group in result.groups]
    for (form, look), shift in zip((*_FORMS, ("shuffled", CONTROL)), (0.15, 0.0, -0.15), strict=True):
        mean, low, high = result.interval("trained", f"spearman_{form}")[:, weakest, share].T
        name = {"shuffled": "finite, shuffled (control)"}.get(form, form)
        points(ranks, name, mean, rows + shift, look, x_interval=(low, high), label=names)
    n_changed = np.nansum(result.of("trained", "n")[:, weakest, share], axis=-1)
    unmoved = np.nanmean(result.of("trained", "unchanged")[:, weakest, share], axis=-1)
    for row, n, still in zip(rows, n_changed, unmoved, strict=True):
        if still == 1.0:
            ranks.text(
                0.0, row, f"none of {n:.0f} moved, as predicted", fontsize=7.5, ha="center", va="center"
            )
    ranks.axvline(0.0, color="0.8", lw=0.8, zorder=0)
    labelled = [f"{name}\nn = {n:.0f} responses" for name, n in zip(names, n_changed, strict=True)]
    ranks.set(
        yticks=rows,
        xlim=(-1.05, 1.05),
        ylim=(-0.6, len(names) + 0.6),
        xlabel=f"rank correlation with the measured changes\n{number_of(n_seeds, 'seed')}",
        ylabel="who is cut, who responds",
    )
    ranks.set_yticklabels(labelled, fontsize=7.5)
    ranks.legend(loc="upper left", ncols=2)
    ranks.set_title(f"Trained networks, the weakest {stated} cut")

    fan_in = result.fan_ins.astype(float)
    for i, cut in enumerate(result.shares):
        for form, look in _FORMS:
            if i not in (0, share):
                continue
            mean, low, high = result.interval("random", f"error_{form}")[:, i].T
            how = {"mfc": "white"} if i == 0 else {}
            part = "one link" if cut == 0 else f"{cut:.0%} of links"
            points(errors, f"{form}, {part}", fan_in, mean, look, y_interval=(low, high), joined=True, **how)
    n_random = int(np.nanmax(result.of("random", "n")))
    log_scale(errors, "x", fan_in)
    log_scale(errors, "y")
    errors.set(
        xlabel=f"fan-in (links); {number_of(n_seeds, 'seed')} of up to {n_random} units",
        ylabel="median relative error of the change",
    )
    errors.legend(loc="lower left")
    errors.set_title("Random units: the closure is asymptotic")

    counted = result.interval("cuts", "cuts")
    most = 0.0
    for (form, look), column in zip(_FORMS, ("cuts_finite", "cuts_linear"), strict=True):
        predicted = result.interval("cuts", column)
        x, y = predicted[..., 0].ravel(), counted[..., 0].ravel()
        orders = ["weakest first", "largest gain first"]
        label = [f"{layer} layer, {order}" for layer in result.layers for order in orders]
        points(
            cuts,
            f"SP-in, {form} response",
            x,
            y,
            look,
            x_interval=predicted[..., 1:].reshape(-1, 2).T,
            y_interval=counted[..., 1:].reshape(-1, 2).T,
            label=label,
        )
        most = max(most, np.nanmax(x), np.nanmax(y))
    out = result.interval("cuts", "cuts_out")[0, 0, 0]
    line(cuts, "equal", [0.9, 1.3 * most], [0.9, 1.3 * most], lw=0.9)
    line(cuts, "links SP-out must cut", [0.9, 1.3 * most], [out, out], LOOKS[2])
    log_scale(cuts, "x")
    log_scale(cuts, "y")
    cuts.set(
        xlabel="links to cut, predicted (mean)",
        ylabel=f"links to cut, counted (mean); {number_of(n_seeds, 'seed')}",
    )
    cuts.legend(loc="lower right")
    cuts.set_title(f"Cuts that raise a residual by {result.depth:g} nats")
    return (
        f"Trained DNF networks and random units, {number_of(n_seeds, 'seed')}, means with 95 % intervals; "
        "on-rates before and after every cut are exact (truth table), so errors are those of the Gaussian "
        "closure. Cutting the links out of a unit leaves its own on-rate alone, exactly. Right: both "
        f"layers, links taken weakest first and in order of predicted gain; price {result.beta:g} nats per "
        "link."
    )
