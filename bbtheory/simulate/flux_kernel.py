"""Compiled loops of the flux world: one epoch of weights w and presence variables t, arrays in, arrays out.

A weight counts where t >= 0: theta = w H(t). One step evaluates the loss at theta, hands w the gradient
H(t) dL/dtheta and t the straight-through gradient kappa w dL/dtheta plus the pressure, and moves both.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

KAPPA = 0.25  # straight-through constant of the authors' code: the slope of the logistic function at 0


class Rule(NamedTuple):
    """One optimizer, as torch.optim defines SGD (no dampening) and Adam; decay is added to the gradient."""

    adam: bool
    learning_rate: float
    momentum: float
    decay1: float
    decay2: float
    eps: float
    weight_decay: float


class World(NamedTuple):
    """What is pushed and how: pressure over N, form of the gate, whether weights learn."""

    push: float
    sigmoid: bool
    learns: bool
    flow: Rule
    learning: Rule


class State(NamedTuple):
    """What a step changes; ``powers`` are decay1^k and decay2^k of t (row 0) and w (row 1) after k steps."""

    t: np.ndarray
    w: np.ndarray
    t_moments: np.ndarray
    w_moments: np.ndarray
    powers: np.ndarray


class Tally(NamedTuple):
    """What is counted per weight: steps present, sum of the pull -w dL/dtheta while absent, first absence."""

    present: np.ndarray
    pull: np.ndarray
    arrival: np.ndarray


@njit(cache=True, error_model="numpy")
def descend(x: np.ndarray, gradient: np.ndarray, rule: Rule, moments: np.ndarray, powers: np.ndarray) -> None:
    """Move x by one step of its optimizer."""
    if rule.adam:
        powers[0] *= rule.decay1
        powers[1] *= rule.decay2
        rate = rule.learning_rate / (1.0 - powers[0])
        root = math.sqrt(1.0 - powers[1])
        for j in range(x.size):
            g = gradient[j] + rule.weight_decay * x[j]
            first = rule.decay1 * moments[0, j] + (1.0 - rule.decay1) * g
            second = rule.decay2 * moments[1, j] + (1.0 - rule.decay2) * g * g
            moments[0, j] = first
            moments[1, j] = second
            x[j] -= rate * first / (math.sqrt(second) / root + rule.eps)
    else:
        for j in range(x.size):
            velocity = rule.momentum * moments[0, j] + (gradient[j] + rule.weight_decay * x[j])
            moments[0, j] = velocity
            x[j] -= rule.learning_rate * velocity


@njit(cache=True, error_model="numpy")
def respond(
    step: int, slope: np.ndarray, scratch: np.ndarray, world: World, state: State, tally: Tally
) -> int:
    """Turn dL/dtheta into the gradients of t and w, count, and move both; return how many were present."""
    t, w = state.t, state.w
    n_present = 0
    for j in range(t.size):
        drive = w[j] * slope[j]
        if t[j] >= 0.0:
            n_present += 1
            tally.present[j] += 1
            scratch[1, j] = slope[j]
        else:
            tally.pull[j] -= drive
            scratch[1, j] = 0.0
            if tally.arrival[j] < 0:
                tally.arrival[j] = step
        if world.sigmoid:
            e = math.exp(-abs(t[j]))
            scratch[0, j] = e / ((1.0 + e) * (1.0 + e)) * (drive + world.push)
        else:
            scratch[0, j] = KAPPA * drive + world.push
    descend(t, scratch[0], world.flow, state.t_moments, state.powers[0])
    if world.learns:
        descend(w, scratch[1], world.learning, state.w_moments, state.powers[1])
    return n_present


@njit(cache=True, error_model="numpy")
def solvable_epoch(
    rng: np.random.Generator,
    first_step: int,
    n_steps: int,
    curvature: np.ndarray,
    optimum: np.ndarray,
    noise: np.ndarray,
    noisy: bool,
    world: World,
    state: State,
    tally: Tally,
) -> tuple[float, float]:
    """Train on 1/2 sum lambda (theta - w*)^2, with gradient noise; return mean density and mean loss."""
    n = state.t.size
    slope, scratch = np.empty(n), np.empty((2, n))
    n_present, total = 0, 0.0
    for step in range(first_step, first_step + n_steps):
        for j in range(n):
            theta = state.w[j] if state.t[j] >= 0.0 else 0.0
            off = theta - optimum[j]
            slope[j] = curvature[j] * off
            total += 0.5 * slope[j] * off
        if noisy:
            for j in range(n):
                slope[j] += noise[j] * rng.standard_normal()
        n_present += respond(step, slope, scratch, world, state, tally)
    return n_present / (n * n_steps), total / n_steps


@njit(cache=True, error_model="numpy")
def regression_epoch(
    rng: np.random.Generator,
    first_step: int,
    n_steps: int,
    features: np.ndarray,
    targets: np.ndarray,
    batch: int,
    world: World,
    state: State,
    tally: Tally,
) -> tuple[float, float]:
    """Train on half the mean squared residual of a linear model; return mean density and mean batch loss.

    ``batch`` samples are drawn with replacement at each step; 0: all samples, each once.
    """
    n_samples, n = features.shape
    size = batch if batch > 0 else n_samples
    theta, slope, scratch = np.empty(n), np.empty(n), np.empty((2, n))
    n_present, total = 0, 0.0
    for step in range(first_step, first_step + n_steps):
        for j in range(n):
            theta[j] = state.w[j] if state.t[j] >= 0.0 else 0.0
            slope[j] = 0.0
        for k in range(size):
            i = int(rng.random() * n_samples) if batch > 0 else k
            residual = -targets[i]
            for j in range(n):
                residual += features[i, j] * theta[j]
            total += 0.5 * residual * residual / size
            for j in range(n):
                slope[j] += residual * features[i, j] / size
        n_present += respond(step, slope, scratch, world, state, tally)
    return n_present / (n * n_steps), total / n_steps
