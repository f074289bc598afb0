"""Presence variables under pressure: which weights stay, when nothing but gradients and pressure act.

Each weight w has a presence variable t and counts where t >= 0, theta = w H(t). Training minimises
loss(theta) + gamma mean(t); through H the gradient passes as a constant kappa = 1/4 (or, in the older form,
as the slope of a logistic function, then of the penalty too). No law of density is used here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.schedules import PressureState
from bbtheory.simulate.flux_kernel import KAPPA, Rule, State, Tally, World, regression_epoch, solvable_epoch
from bbtheory.simulate.flux_run import FluxRun, judge_window
from bbtheory.simulate.flux_settings import (
    Optimizer,
    PressureSchedule,
    RegressionLoss,
    SolvableLoss,
    each,
)

GATES = ("constant", "sigmoid")
ANY = "(-inf, inf)"
STARTS = "[-1e100, 1e100]"  # whose differences are finite


def simulate_flux(
    loss: SolvableLoss | RegressionLoss,
    pressure: float | ArrayLike | PressureSchedule,
    *,
    n_epochs: int,
    epoch_steps: int = 100,
    n_measured: int | None = None,
    flow: Optimizer | None = None,
    learning: Optimizer | None = None,
    weight_start: ArrayLike | None = None,
    presence_start: float | tuple[float, float] = (0.2, 0.5),
    gate: str = "constant",
    tolerance: float = 0.01,
    seed: int = 0,
) -> FluxRun:
    """Train presence variables under pressure, dL/dt = kappa w dL/dtheta + gamma/N, with w fixed or learning.

    Parameters
    ----------
    loss : SolvableLoss or RegressionLoss
        Of N weights.
    pressure : float, array_like (n_epochs,) or PressureSchedule
        gamma >= 0 for good, epoch by epoch, or set by the authors' recursion (0 in the first epoch).
    n_epochs, epoch_steps : int
        Epochs, 1 to 1e8, and optimizer steps in each, 1 to 1e9.
    n_measured : int, optional
        Epochs of the window at the end, in which presence and flux are measured; half of all by default.
    flow : Optimizer, optional
        Of t; SGD with rate 1e-3 by default. Its eps compares with gamma/N, not with gamma.
    learning : Optimizer, optional
        Of w; None holds the weights. An absent weight gets no gradient from the loss, but weight decay and
        momentum go on.
    weight_start : array_like (n,), optional
        w before the first step; the loss's optimum by default.
    presence_start : float or (float, float)
        t before the first step, or the ends of a uniform draw; 0.2 to 0.5 in the authors' code for Adam.
    gate : {"constant", "sigmoid"}
        kappa = 1/4, or s(t) (1 - s(t)) with the penalty gamma mean(s(t)) of their earlier code.
    tolerance : float
        Of density, in (0, 1): see `FluxRun.status`.
    seed : int
        Of the start, the minibatches and the noise.

    Returns
    -------
    FluxRun

    Raises
    ------
    ValueError
        If an argument is outside its domain, lengths differ, or the run diverges (a rate too large for the
        loss).

    References
    ----------
    Hyperflux (arXiv 2504.05349) for the model; gate and constants from the authors' code.
    """
    if not isinstance(loss, SolvableLoss):
        validate.instance("loss", loss, RegressionLoss)
    n_epochs = validate.integer("n_epochs", n_epochs, "[1, 1e8]")
    epoch_steps = validate.integer("epoch_steps", epoch_steps, "[1, 1e9]")
    n_measured = max(1, n_epochs // 2) if n_measured is None else n_measured
    n_measured = validate.integer("n_measured", n_measured, f"[1, {n_epochs}]")
    validate.choice("gate", gate, GATES)
    tolerance = validate.real("tolerance", tolerance, "(0, 1)")
    n = loss.n_weights
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    state = State(
        t=_start(presence_start, n, rng),
        w=loss.optimum.copy() if weight_start is None else each("weight_start", weight_start, ANY, n),
        t_moments=np.zeros((2, n)),
        w_moments=np.zeros((2, n)),
        powers=np.ones((2, 2)),
    )
    flow_rule = _rule("flow", flow)
    learning_rule = _rule("learning", learning)
    schedule, pressures = _pressures(pressure, n_epochs)
    level = PressureState()
    traces = np.empty((4, n_epochs))
    tally = _tally(n, np.full(n, -1))
    at_window = state.t
    for epoch in range(n_epochs):
        if epoch == n_epochs - n_measured:
            tally, at_window = _tally(n, tally.arrival), state.t.copy()
        gamma = level.pressure if schedule else pressures[epoch]
        world = World(gamma / n, gate == "sigmoid", learning is not None, flow_rule, learning_rule)
        density, mean_loss = _epoch(loss, rng, epoch * epoch_steps, epoch_steps, world, state, tally)
        if not (np.isfinite(mean_loss) and np.isfinite(state.t).all() and np.isfinite(state.w).all()):
            raise ValueError(f"learning_rate must let the run stay finite, it diverged in epoch {epoch + 1}")
        end_density = float(np.mean(state.t >= 0))
        traces[:, epoch] = gamma, density, end_density, mean_loss
        if schedule:
            level = schedule.after(level, epoch + 1, end_density)
    n_absent = n_measured * epoch_steps - tally.present
    with np.errstate(invalid="ignore"):
        flux = (1.0 if gate == "sigmoid" else KAPPA) * n * tally.pull / n_absent
    presence = tally.present / (n_measured * epoch_steps)
    travelling, settling_step, status = judge_window(
        traces[1], presence, state.t - at_window, n_measured, epoch_steps, tolerance
    )
    return FluxRun(
        pressure=traces[0],
        density=traces[1],
        end_density=traces[2],
        loss=traces[3],
        n_weights=n,
        epoch_steps=epoch_steps,
        n_measured=n_measured,
        presence=presence,
        flux=flux,
        weight=state.w,
        presence_variable=state.t,
        arrival=tally.arrival,
        travelling=travelling,
        settling_step=settling_step,
        tolerance=tolerance,
        status=status,
    )


def _epoch(
    loss: SolvableLoss | RegressionLoss,
    rng: np.random.Generator,
    first_step: int,
    n_steps: int,
    world: World,
    state: State,
    tally: Tally,
) -> tuple[float, float]:
    """Train for one epoch; return mean density and mean loss."""
    if isinstance(loss, SolvableLoss):
        what = loss.curvature, loss.optimum, loss.noise, bool(loss.noise.any())
        return solvable_epoch(rng, first_step, n_steps, *what, world, state, tally)
    what = loss.features, loss.targets, loss.batch
    return regression_epoch(rng, first_step, n_steps, *what, world, state, tally)


def _start(given: float | tuple[float, float], n: int, rng: np.random.Generator) -> np.ndarray:
    if np.ndim(given) == 0:
        return np.full(n, validate.real("presence_start", given, STARTS))
    low, high = validate.array("presence_start", given, STARTS, shape=(2,))
    if low > high:
        raise ValueError(f"presence_start must be (low, high) with low <= high, got {given!r}")
    return rng.uniform(low, high, n)


def _rule(name: str, optimizer: Optimizer | None) -> Rule:
    o = Optimizer() if optimizer is None else validate.instance(name, optimizer, Optimizer)
    return Rule(o.rule == "adam", o.learning_rate, o.momentum, o.decay1, o.decay2, o.eps, o.weight_decay)


def _pressures(
    pressure: float | ArrayLike | PressureSchedule, n_epochs: int
) -> tuple[PressureSchedule | None, np.ndarray]:
    """Return the scheduler, if there is one, and the pressures of all epochs otherwise."""
    if isinstance(pressure, PressureSchedule):
        return pressure, np.zeros(n_epochs)
    return None, each("pressure", pressure, "[0, inf)", n_epochs)


def _tally(n: int, arrival: np.ndarray) -> Tally:
    return Tally(present=np.zeros(n, dtype=np.int64), pull=np.zeros(n), arrival=arrival)
