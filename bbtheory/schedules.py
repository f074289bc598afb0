"""Density trajectories and pressure recursions: how much to keep at each epoch, how hard to press for it.

Definitions, not solutions: trainers and simulations follow them, theory judges the outcome. Densities are
fractions in (0, 1] everywhere; the authors' code counts percent (their D is 100 times ours) and nothing else
differs, since their recursions only compare densities. A trajectory is a tuple D with D[0] = 1 (or ``start``)
before the first epoch and D[e] wanted after epoch e.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bbtheory import validate

PRESSURE_POWER = 1.5  # pressure = level ** 1.5 in the authors' code
_LATE_FACTOR = 0.999  # kept per epoch at the slow end of the sigmoid trajectory, authors' code
_STEEPNESS = 6.0  # logistic steepness times the number of epochs, authors' code
_INERTIA = 0.25  # part of a step that the next step in the same direction grows by, authors' code


def _sigmoid_trajectory(early_factor: float, epochs: int) -> tuple[float, ...]:
    densities = [1.0]
    for epoch in range(1, epochs + 1):
        late = 1.0 / (1.0 + math.exp(-(_STEEPNESS / epochs) * (epoch - epochs / 2)))
        densities.append(densities[-1] * (early_factor + (_LATE_FACTOR - early_factor) * late))
    return tuple(densities)


def sigmoid_factor(target: float, epochs: int) -> float:
    """Early per-epoch factor a of the authors' trajectory, from D(E) = target by bisection.

    Parameters
    ----------
    target : float
        Density D(E) wanted after the last epoch, in (0, 1).
    epochs : int
        E >= 1.

    Returns
    -------
    float
        a in [0, 0.999], to the last bit that changes D(E).

    Raises
    ------
    ValueError
        If an argument is outside its domain, or no a in [0, 0.999] meets the target in E epochs.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code, schedulers.py.
    """
    target = validate.real("target", target, "(0, 1)")
    epochs = validate.integer("epochs", epochs, "[1, 1e7]")
    low, high = 0.0, _LATE_FACTOR
    reach = _sigmoid_trajectory(low, epochs)[-1], _sigmoid_trajectory(high, epochs)[-1]
    if not reach[0] <= target <= reach[1]:
        raise ValueError(
            f"target must be a density in [{reach[0]:.6g}, {reach[1]:.6g}], which {epochs} epochs of this "
            f"trajectory can reach, got {target!r}"
        )
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            return middle
        if _sigmoid_trajectory(middle, epochs)[-1] < target:
            low = middle
        else:
            high = middle


def sigmoid_trajectory(target: float, epochs: int) -> tuple[float, ...]:
    """Density trajectory of Hyperflux, D(e) = prod_{k=1..e} [a + (0.999 - a) sigmoid((6/E)(k - E/2))].

    Fast pruning first (factor near a per epoch), slow at the end (factor near 0.999).

    Parameters
    ----------
    target : float
        D(E), in (0, 1); 0.02 for the authors' "2 percent".
    epochs : int
        E >= 1.

    Returns
    -------
    tuple of E + 1 floats
        D(0) = 1 to D(E) = target.

    Raises
    ------
    ValueError
        As `sigmoid_factor`.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code, schedulers.py.
    """
    return _sigmoid_trajectory(sigmoid_factor(target, epochs), epochs)


def _ends(target: float, steps: int, start: float) -> tuple[float, int, float]:
    target = validate.real("target", target, "(0, 1]")
    steps = validate.integer("steps", steps, "[1, 1e9]")
    start = validate.real("start", start, "(0, 1]")
    if target > start:
        raise ValueError(f"target must be at most start = {start!r}, got {target!r}")
    return target, steps, start


def linear_trajectory(target: float, steps: int, *, start: float = 1.0) -> tuple[float, ...]:
    """Equal parts of the weights at each step, D(k) = start + (target - start) k/n.

    Parameters
    ----------
    target, start : float
        Last and first density, 0 < target <= start <= 1.
    steps : int
        n >= 1.

    Returns
    -------
    tuple of n + 1 floats

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    target, steps, start = _ends(target, steps, start)
    return tuple(target + (start - target) * (1.0 - k / steps) for k in range(steps + 1))


def exponential_trajectory(target: float, steps: int, *, start: float = 1.0) -> tuple[float, ...]:
    """Equal fractions of the remaining weights at each step, D(k) = start (target/start)^(k/n).

    Parameters, Returns and Raises as `linear_trajectory`.
    """
    target, steps, start = _ends(target, steps, start)
    middle = (start * math.exp(math.log(target / start) * (k / steps)) for k in range(1, steps))
    return (start, *middle, target)


def cubic_trajectory(target: float, steps: int, *, start: float = 1.0) -> tuple[float, ...]:
    """Cubic trajectory of gradual magnitude pruning, D(k) = target + (start - target) (1 - k/n)^3.

    Parameters, Returns and Raises as `linear_trajectory`.

    References
    ----------
    Zhu and Gupta, "To prune, or not to prune" (arXiv 1710.01878), equation 1, written for density.
    """
    target, steps, start = _ends(target, steps, start)
    return tuple(target + (start - target) * (1.0 - k / steps) ** 3 for k in range(steps + 1))


def iterative_rounds(target: float, epochs: int, *, kept: float = 0.9) -> tuple[int, ...]:
    """Epochs after which iterative pruning cuts, n = ceil(ln(target)/ln(kept)) of them, evenly spread.

    They are linspace(1, E - 1, n), rounded half to even.

    Parameters
    ----------
    target : float
        Density that must be reached, in (0, 1); the last round may end below it.
    epochs : int
        E >= 2.
    kept : float
        Part of the remaining weights that one round keeps, in (0, 1).

    Returns
    -------
    tuple of n ints, increasing

    Raises
    ------
    ValueError
        If an argument is outside its domain or there are more rounds than epochs 1 to E - 1.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code for iterative magnitude pruning (kept = 0.9).
    """
    target = validate.real("target", target, "(0, 1)")
    epochs = validate.integer("epochs", epochs, "[2, 1e7]")
    kept = validate.real("kept", kept, "(0, 1)")
    n = math.ceil(math.log(target) / math.log(kept))
    if n > epochs - 1:
        raise ValueError(f"epochs must be at least {n + 1} for {n} rounds of pruning, got {epochs}")
    return tuple(round(1 + (epochs - 2) * i / max(n - 1, 1)) for i in range(n))


def iterative_trajectory(target: float, epochs: int, *, kept: float = 0.9) -> tuple[float, ...]:
    """Density after each epoch of iterative pruning, D(e) = kept^(rounds up to e).

    Parameters
    ----------
    target, epochs, kept
        As `iterative_rounds`.

    Returns
    -------
    tuple of E + 1 floats

    Raises
    ------
    ValueError
        As `iterative_rounds`.
    """
    rounds = iterative_rounds(target, epochs, kept=kept)
    return tuple(kept ** sum(r <= epoch for r in rounds) for epoch in range(epochs + 1))


@dataclass(frozen=True)
class PressureState:
    """State of a pressure recursion; everything a resumed run needs.

    Attributes
    ----------
    level : float
        g >= 0; the pressure is g^1.5.
    rise, fall : float
        What the next step in the same direction adds to the step size: the inertias p and n.
    """

    level: float = 0.0
    rise: float = 0.0
    fall: float = 0.0

    def __post_init__(self) -> None:
        for name in ("level", "rise", "fall"):
            object.__setattr__(self, name, validate.real(name, getattr(self, name), "[0, inf)"))

    @property
    def pressure(self) -> float:
        """Pressure gamma = level^1.5 for the next epoch."""
        return self.level**PRESSURE_POWER


def _too_dense(epoch: int, density: float, trajectory: Sequence[float], step: float) -> bool | None:
    """Whether the network is above the trajectory; None from the last epoch on, when nothing changes."""
    epoch = validate.integer("epoch", epoch, "[0, inf)")
    density = validate.real("density", density, "[0, 1]")
    validate.real("step", step, "(0, inf)")
    if len(trajectory) == 0:
        raise ValueError("trajectory must not be empty")
    if epoch >= len(trajectory) - 1:
        return None
    return density > trajectory[epoch]


def follow_trajectory(
    state: PressureState, epoch: int, density: float, trajectory: Sequence[float], *, step: float = 0.2
) -> PressureState:
    """Pressure recursion of Hyperflux (policy 1): press harder above the trajectory, ease below it.

    With h the step: above, g += h + p, p += h/4, n = 0; else g = max(0, g - h - n), n += h/4, p = 0.

    Parameters
    ----------
    state : PressureState
        (g, p, n) before.
    epoch : int
        Epoch just trained, >= 1; from the trajectory's last epoch on the state stays as it is.
    density : float
        Measured after that epoch, in [0, 1].
    trajectory : sequence of float
        D[e], say of `sigmoid_trajectory`.
    step : float
        h > 0: 0.2 on CIFAR, 0.15 on ImageNet, 0.3 is the code's default.

    Returns
    -------
    PressureState
        After; its ``pressure`` is applied in epoch + 1.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code, PressureSchedulerPolicy1.
    """
    above = _too_dense(epoch, density, trajectory, step)
    if above is None:
        return state
    if above:
        return _raised(state, step)
    return PressureState(max(state.level - step - state.fall, 0.0), 0.0, state.fall + _INERTIA * step)


def ratchet_pressure(
    state: PressureState, epoch: int, density: float, trajectory: Sequence[float], *, step: float = 0.3
) -> PressureState:
    """Pressure recursion of the pruning-law runs (policy NPL): as policy 1, but it never eases.

    Above the trajectory g += h + p, p += h/4; else p = 0. The authors log the point (g before the step,
    density) whenever g grows: their saliency is the level g, while the pressure applied is g^1.5, so an
    exponent measured against g is 1.5 times the one against the pressure.

    Parameters
    ----------
    state, epoch, density, trajectory, step
        As `follow_trajectory`.

    Returns
    -------
    PressureState

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code, PressureSchedulerPolicyNeuralPruningLaw.
    """
    above = _too_dense(epoch, density, trajectory, step)
    if above is None:
        return state
    if above:
        return _raised(state, step)
    return PressureState(state.level, 0.0, state.fall)


def _raised(state: PressureState, step: float) -> PressureState:
    """Return the state after one rise: g += h + p, p += h/4, n = 0."""
    return PressureState(state.level + step + state.rise, state.rise + _INERTIA * step, 0.0)


def staircase_pressure(epoch: int, *, base: float = 2.0, first: int = -10, every: int = 50) -> float:
    """Pressure of the measurement runs, gamma = base^(first + floor((epoch - 1)/every)); 0 in epoch 1.

    Parameters
    ----------
    epoch : int
        Epoch about to be trained, >= 1.
    base : float
        Factor between stairs, > 0.
    first : int
        Exponent of the first stair: -10 or -16 in the authors' runs.
    every : int
        Epochs on a stair, >= 1: 50 or 100 in the authors' runs.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Hyperflux (arXiv 2504.05349), the authors' code, PressureSchedulerPolicyMeasurements.
    """
    epoch = validate.integer("epoch", epoch, "[1, inf)")
    base = validate.real("base", base, "(0, inf)")
    first = validate.integer("first", first)
    every = validate.integer("every", every, "[1, inf)")
    stair = first + (epoch - 1) // every
    try:
        return 0.0 if epoch == 1 else base**stair
    except OverflowError:
        raise ValueError(f"epoch must lead to a finite pressure, got {epoch}: {base!r}^{stair}") from None
