"""Density under pressure where weights stand in for each other

Measured less predicted density of a linear regression with correlated features: by the law of the fluxes that
weights feel one at a time, and by the quadratic programme in which absent weights pull on each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, number_of, points

if TYPE_CHECKING:
    from experiments.flux_correlated_toy import Result

SOURCES = ("flux_correlated_toy",)
PAPER = "Hyperflux (arXiv 2504.05349): the pruning law assumes that weights meet the pressure one by one"

_CONTROL = -0.12  # where orthogonal features are drawn


def draw(figure: Drawing, result: Result) -> str:
    """Draw the errors of both predictions against correlation, for every pressure."""
    figure.set_size_inches(10.0, 4.2)
    seeds = number_of(result.n_seeds, "seed")
    known = np.isfinite(result.correlation)
    at = np.where(known, result.correlation, _CONTROL)
    names = [
        f"{rho:g}" if fine else "orthogonal (control)"
        for rho, fine in zip(result.correlation, known, strict=True)
    ]
    panels = figure.subplots(1, 2)
    for axes, error, spread, title in (
        (panels[0], result.law_error, result.law_error_interval, "Law of single fluxes"),
        (
            panels[1],
            result.coupled_error,
            result.coupled_error_interval,
            "Quadratic programme (note the scale)",
        ),
    ):
        for j, look in zip(range(len(result.n_left)), LOOKS, strict=False):
            name = f"{result.n_left[j]:g} fluxes above the pressure"
            how = {"y_interval": spread[:, known, j], "legend": name if axes is panels[0] else ""}
            label = [text for text, fine in zip(names, known, strict=True) if fine]
            points(axes, name, at[known], error[known, j], look, joined=True, label=label, **how)
            how = {"y_interval": spread[:, ~known, j], "legend": "", "label": ["orthogonal (control)"]}
            points(axes, f"{name}, control", at[~known], error[~known, j], look, **how)
        axes.axhline(0.0, color="0.6", lw=0.8, zorder=0)
        axes.axvline(_CONTROL / 2, color="0.85", lw=0.8)
        axes.set_xticks([_CONTROL, 0.0, 0.2, 0.4, 0.6, 0.8], ["control", "0", "0.2", "0.4", "0.6", "0.8"])
        axes.set(
            xlabel=f"correlation of neighbouring features; {seeds}",
            ylabel=f"density less prediction (fraction of n = {result.n_weights} weights)",
        )
        axes.set_title(title)
    figure.legend(loc="outside upper center", ncols=3)
    return (
        f"Linear regression with n = {result.n_weights} weights in minibatches, {seeds}, mean differences "
        "with 95 % intervals over seeds. Control: the same samples with exactly orthogonal features. Where "
        "features correlate, absent weights are stood in for, and the law of single fluxes errs by up to "
        f"{np.nanmax(np.abs(result.law_error)):.2f}; the quadratic programme by "
        f"{np.nanmax(np.abs(result.coupled_error)):.1g}."
    )
