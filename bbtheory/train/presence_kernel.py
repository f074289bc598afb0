"""What presence does to a weight and its gradient, as compiled loops over tensors' own memory.

They do what the tensor operations of presence.py and flow.py do, in a fraction of the passes over memory.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# sums and products may be regrouped and fused; NaN and infinity keep their meaning
_FLAGS = {"reassoc", "contract", "nsz"}


@njit(cache=True, error_model="numpy", fastmath=_FLAGS)
def pull(gradient, pulled, weight, dormant, kept):
    """Set pulled_i <- w_i g_i and mask the gradient; return whether every product is finite."""
    real = gradient.dtype.type  # bytes times float32 would be float64, and slow
    health = real(0)
    for i in range(gradient.size):
        g = gradient[i]
        product = (weight[i] + dormant[i]) * g
        pulled[i] = product
        health += product * real(0)
        gradient[i] = g * real(kept[i])
    return health == 0


@njit(cache=True, error_model="numpy", fastmath=_FLAGS)
def pull_more(gradient, pulled, weight, dormant, kept):
    """`pull` for an accumulated gradient: whole at kept weights, only the last one at cut ones."""
    real = gradient.dtype.type
    health = real(0)
    for i in range(gradient.size):
        g = gradient[i]
        product = (weight[i] + dormant[i]) * g + (real(0) if kept[i] else pulled[i])
        pulled[i] = product
        health += product * real(0)
        gradient[i] = g * real(kept[i])
    return health == 0


@njit(cache=True, error_model="numpy", fastmath=_FLAGS)
def adam(t, mean, square, pulled, weight, dormant, kept, slope, push, floor, beta1, beta2, step, root, eps):
    """Step t by Adam along slope * pulled + push, pushed above the floor; then split weight and dormant.

    Weight holds all values before.
    """
    one = t.dtype.type(1)
    zero = t.dtype.type(0)
    for i in range(t.size):
        g = slope * pulled[i] + (push if t[i] > floor else zero)
        m = mean[i] + (one - beta1) * (g - mean[i])
        v = beta2 * square[i] + (one - beta2) * g * g
        mean[i] = m
        square[i] = v
        moved = t[i] - step * m / (np.sqrt(v) * root + eps)
        t[i] = moved
        here = moved >= zero
        w = weight[i]
        weight[i] = w if here else zero
        dormant[i] = zero if here else w
        kept[i] = here


@njit(cache=True, error_model="numpy", fastmath=_FLAGS)
def sgd(t, velocity, pulled, weight, dormant, kept, slope, push, floor, momentum, lr):
    """`adam` for SGD with momentum."""
    zero = t.dtype.type(0)
    for i in range(t.size):
        v = momentum * velocity[i] + (slope * pulled[i] + (push if t[i] > floor else zero))
        velocity[i] = v
        moved = t[i] - lr * v
        t[i] = moved
        here = moved >= zero
        w = weight[i]
        weight[i] = w if here else zero
        dormant[i] = zero if here else w
        kept[i] = here
