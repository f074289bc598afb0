"""Adam's eps moves the time, not the density

Left: the step at which weights are first absent, measured against predicted, over four decades. Middle: the
density of short and of long runs. Right: how much too often Adam leaves weights of large flux out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, Look, line, log_scale, number_of, points

if TYPE_CHECKING:
    from experiments.adam_eps_toy import Result

SOURCES = ("adam_eps_toy",)
PAPER = "Hyperflux (arXiv 2504.05349), its code: Adam on presence variables whose gradient lies below eps"

_ROWS = ("hardly any eps", "a large eps", "SGD")


def draw(figure: Drawing, result: Result) -> str:
    """Draw times, densities and absent fractions."""
    figure.set_size_inches(11.0, 4.0)
    time, density, excess = figure.subplots(1, 3)
    seeds = number_of(result.n_seeds, "seed")

    both = np.concatenate([result.predicted_arrival.ravel(), result.arrival.ravel()])
    ends = np.array([0.6 * np.nanmin(both), 1.7 * np.nanmax(both)])
    line(time, "equal", ends, ends)
    for i, (noise, look) in enumerate(zip(result.noise, LOOKS, strict=False)):
        points(
            time,
            "no gradient noise" if noise == 0 else f"noise {noise:g} x pressure",
            result.predicted_arrival[i].ravel(),
            result.arrival[i].ravel(),
            look,
            y_interval=result.arrival_interval[:, i].reshape(2, -1),
            ms=6,
            mfc="white" if i else look.color,
        )
    missing = int(np.isnan(result.arrival).sum())
    time.set(
        xscale="log",
        yscale="log",
        xlabel="predicted first absence (step)",
        ylabel=f"measured first absence (step); {seeds}",
    )
    time.legend(loc="upper left")
    time.set_title(
        f"n = {result.arrival.size - missing} settings" + (f", {missing} not arrived" if missing else "")
    )

    for name, values, spread, look, shift in (
        (f"after {result.n_short:,} steps", result.short_density, result.short_interval, LOOKS[1], 0.88),
        (f"after {result.n_long:,} steps", result.long_density, result.long_interval, LOOKS[0], 1.14),
    ):
        ratio = np.broadcast_to(result.eps / result.shares[:, None], values.shape)
        points(density, name, ratio.ravel() * shift, values.ravel(), look, y_interval=spread.reshape(2, -1))
    density.axhline(result.law_density, color="black", lw=1.0, zorder=0)
    density.annotate(
        "the law",
        (0.98, result.law_density),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
    )
    density.set(
        xscale="log",
        ylim=(0.0, 1.1),
        xlabel="eps / gradient of the pressure (ratio)",
        ylabel=f"density (kept fraction); {seeds}",
    )
    density.legend(loc="center left")
    density.set_title("Runs that had not converged look dense")

    for i, (row, look) in enumerate(zip(_ROWS, (LOOKS[0], LOOKS[1], Look("0.45", "x", ":")), strict=True)):
        name = row if row == "SGD" else f"Adam, {row}"
        shifted = result.ratios * 1.12 ** (i - 1)
        ends = 100.0 * result.excess_interval[:, i]
        points(excess, name, shifted, 100.0 * result.excess[i], look, y_interval=ends)
    excess.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    log_scale(excess, "x", result.ratios)
    excess.set(xlabel=f"F / gamma (ratio); {seeds}", ylabel="absent more often than gamma/F (%)")
    excess.legend(loc="upper left")
    excess.set_title("Where Adam's memory is too short")
    return (
        f"Presence variables trained by Adam, {seeds}, means with 95 % intervals; each setting is an eps, a "
        "pressure gradient and a noise. Predicted first absence: start x (root mean square gradient + eps) "
        "/ (learning rate x pressure gradient). Middle: after long runs the density is the law's at every "
        "eps. Right: after an absence of F/gamma steps the second moment has forgotten the last one."
    )
