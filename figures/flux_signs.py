"""Four sign cases of the flux on a removed weight

A removed weight has the effective value 0. Where going back to its stored value w would lower the loss, it
feels a flux that lifts its presence; it returns if that flux exceeds the pressure. Else it stays away.
"""

from __future__ import annotations

import numpy as np

from figures._drawing import LOOKS, Drawing, line, points

SOURCES = ()
PAPER = "Hyperflux (arXiv 2504.05349): figure 1, four sign cases of a removed weight"

_OPTIMUM = 1.0  # |w*|
_STORED = 0.6  # |w|
_CASES = (("a", 1, 1), ("b", 1, -1), ("c", -1, 1), ("d", -1, -1))


def draw(figure: Drawing) -> str:
    """Draw the loss along the effective weight for every sign of the stored weight and of the optimum."""
    figure.set_size_inches(10.5, 3.4)
    theta = np.linspace(-1.5, 1.5, 121)
    panels = figure.subplots(1, len(_CASES), sharey=True)
    for i, (axes, (letter, weight, optimum)) in enumerate(zip(panels, _CASES, strict=True)):
        w, best = weight * _STORED, optimum * _OPTIMUM
        # in units of kappa N lambda w*^2; the gradient at an absent weight is -lambda w*
        flux = w * best
        line(axes, "loss", theta, _loss(theta, best), legend="")
        points(axes, "absent", 0.0, _loss(0.0, best), LOOKS[0], ms=8, legend="" if i else None)
        name = "stored weight w"
        points(axes, name, w, _loss(w, best), LOOKS[1], ms=8, mfc="white", legend="" if i else None)
        axes.annotate(
            "",
            (w, _loss(0.0, best)),
            (0.0, _loss(0.0, best)),
            arrowprops={"arrowstyle": "->", "lw": 1.4, "ls": "-" if flux > 0 else ":"},
        )
        axes.plot([w, w], [_loss(0.0, best), _loss(w, best)], color="0.5", lw=0.8, ls=":", zorder=0)
        verdict = "back if flux > pressure" if flux > 0 else "stays absent"
        side = "lower" if flux > 0 else "higher"
        axes.set_title(
            f"({letter}) w {'>' if weight > 0 else '<'} 0, w* {'>' if optimum > 0 else '<'} 0\n{verdict}"
        )
        axes.text(
            0.5,
            0.98,
            f"flux {flux:+.1f}: loss {side} at w",
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=8,
        )
        axes.set(xlabel="effective weight (|w*|); n = 1", xticks=(-1, 0, 1), ylim=(-0.15, 3.5))
    panels[0].set_ylabel("loss (lambda w*^2)")
    figure.legend(loc="outside upper center", ncols=2)
    return (
        "Loss 1/2 lambda (theta - w*)^2 of n = 1 weight along its effective value theta. An absent weight "
        f"sits at theta = 0 and would return to its stored value w, |w| = {_STORED:g} |w*|. Flux F = kappa N "
        "lambda w w* in units of kappa N lambda w*^2: the presence of an absent weight moves by F less the "
        "pressure. Theory alone."
    )


def _loss(theta: np.ndarray | float, best: float) -> np.ndarray:
    return 0.5 * (np.asarray(theta) - best) ** 2
