"""Hysteresis: density along a path of pressures, when what has died does not come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.theory.presence import solve_presence


@dataclass(frozen=True, eq=False)
class PressureSweep(Record):
    """Densities along a path of pressures, each held until equilibrium.

    Attributes
    ----------
    pressure, density : ndarray (m,)
        In the order of the path.
    n_absent, n_present : ndarray (m,) of int
        Weights that are gone, and present for good; the others slide.
    n_weights : int
    status : str
        "converged".
    """

    KIND: ClassVar[str] = "pressure_sweep"
    UNITS: ClassVar = {
        "pressure": "pressure",
        "density": "density",
        "n_absent": "n_absent",
        "n_present": "n_present",
    }

    pressure: np.ndarray
    density: np.ndarray
    n_absent: np.ndarray
    n_present: np.ndarray
    n_weights: int
    status: str


def sweep_pressure(
    flux: ArrayLike, pressures: ArrayLike, *, weight_decay: ArrayLike = 0.0, start: ArrayLike = 1.0
) -> PressureSweep:
    """Density along a slow path of pressures: with decay, what dies on the way up stays dead on the way down.

    Each weight starts a pressure where the one before left it, so density depends on the path: on the way
    down it is that of the survivors of the largest pressure so far. Without decay an absent weight keeps its
    value and returns at the pressure that cut it.

    Parameters
    ----------
    flux : array_like (n,)
        F_j >= 0, the flux at w = w*.
    pressures : array_like (m,)
        gamma >= 0, in the order they are applied.
    weight_decay, start
        As `solve_presence`, before the first pressure.

    Returns
    -------
    PressureSweep

    Raises
    ------
    ValueError, ConvergenceError
        As `solve_presence`.

    References
    ----------
    This project's derivation.
    """
    pressures = validate.array("pressures", pressures, "[0, inf)")
    path = []
    for pressure in pressures:
        held = solve_presence(flux, float(pressure), weight_decay=weight_decay, start=start)
        start = held.weight
        path.append((held.density, np.sum(held.state == "absent"), np.sum(held.state == "present")))
    density, n_absent, n_present = (np.array(column) for column in zip(*path, strict=True))
    return PressureSweep(
        pressure=pressures,
        density=density,
        n_absent=n_absent,
        n_present=n_present,
        n_weights=int(np.size(flux)),
        status="converged",
    )
