"""Adam's eps on a network: weights that feel the pressure alone

Left: the share of weights with an idle input that are present, measured against predicted. Middle: density of
each network. Right: what the larger eps adds to the density early and at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, courses, line, number_of, points

if TYPE_CHECKING:
    from experiments.adam_eps_artefact import Result

SOURCES = ("adam_eps_artefact",)
PAPER = "Hyperflux (arXiv 2504.05349), its code: Adam on presence variables, default eps, small pressures"


def draw(figure: Drawing, result: Result) -> str:
    """Draw idle weights, densities and what eps adds."""
    figure.set_size_inches(11.0, 4.4)
    idle, density, excess = figure.subplots(1, 3)
    seeds = number_of(result.rows[0].n, "seed")
    names = [f"pressure {row.pressure:.2g}, eps {row.eps:g}" for row in result.rows]
    times = np.arange(1, result.course.shape[-1] + 1)
    every = max(len(times) // 12, 1)
    for i, (name, look) in enumerate(zip(names, LOOKS, strict=False)):
        shift = i % every  # markers of equal courses side by side
        points(
            idle,
            name,
            times[shift::every],
            result.idle[i].mean(axis=0)[shift::every],
            look,
            legend="",
        )
        line(idle, f"{name}, predicted", times, result.idle_predicted[i].mean(axis=0), look, legend="")
        courses(density, name, times, result.course[i], look)
    idle.set(ylim=(-0.03, 1.05), xlabel=f"epoch; {seeds}", ylabel="share of idle weights present (mean)")
    idle.set_title("Lines: predicted, nothing fitted")
    density.set(ylim=(-0.03, 1.05), xlabel=f"epoch; {seeds}, a line each", ylabel="density (kept fraction)")
    density.set_title("All weights")
    figure.legend(loc="outside upper center", ncols=3)
    rows = [row for row in result.rows if row.eps != result.rows[-1].eps]
    pressure = np.array([row.pressure for row in rows])
    for value, ends, name, look, shift in (
        ("early_excess", ("early_low", "early_high"), "after a tenth of the epochs", LOOKS[1], 0.93),
        ("excess", ("low", "high"), "at the end", LOOKS[0], 1.07),
    ):
        y = [getattr(row, value) for row in rows]
        interval = np.array([[getattr(row, end) for row in rows] for end in ends])
        face = look.color if value == "excess" else "white"
        points(excess, name, pressure * shift, y, look, y_interval=interval, ms=6, mfc=face, legend="")
    excess.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    excess.set_xscale("log", base=2)
    excess.set(
        xlim=(0.4 * pressure.min(), 2.5 * pressure.max()),
        xlabel=f"pressure gamma (loss); {seeds}",
        ylabel=f"density less that with eps {result.rows[-1].eps:g}",
    )
    excess.set_title("White: after 1/10 of the epochs; filled: last")
    error = max(row.idle_error for row in result.rows)
    return (
        f"LeNet-300-100, {seeds} each, means with 95 % intervals (none for one seed), differences paired by "
        f"seed. Idle weights ({result.rows[0].n_idle:,}) read an input that is 0 in every image and feel the "
        f"pressure alone; their share present is predicted to within {error:.2g}. An eps far above the "
        "push gamma/N delays them by 1 + eps N/gamma."
    )
