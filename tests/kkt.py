"""The optimality conditions of the traffic budgets, asserted of any proposed solution."""

import numpy as np

from bbtheory.theory.entropy import coding_entropy, inactivity_log_odds

# neighbours are this far away: their entropy differs by far more than rounding
STEP = 1e-4


def assert_kkt(on_rate, costs, budgets, beta, lower=0.0, upper=1.0, *, tolerance=1e-11, seed=0):
    """Feasible, multipliers not negative, complementary, stationary, and no feasible neighbour is better."""
    a, c, t = np.asarray(on_rate, float), np.atleast_2d(costs), np.atleast_1d(budgets)
    beta = np.atleast_1d(beta)
    lo, hi = np.broadcast_to(lower, a.shape), np.broadcast_to(upper, a.shape)
    assert (a >= lo).all(), "below a lower bound"
    assert (a <= hi).all(), "above an upper bound"
    slack = t - c @ a
    assert (slack >= -tolerance * t).all(), "a budget is broken"
    assert (beta >= 0).all(), "a multiplier is negative"
    assert (beta * slack <= tolerance * t * np.maximum(beta, 1)).all(), "not complementary"
    x = beta @ c
    gap = inactivity_log_odds(np.clip(a, 1e-300, 1 - 1e-16)) - x
    free = (a > np.maximum(lo, 1e-300)) & (a < hi)
    scale = np.maximum(1.0, x)
    assert (np.abs(gap[free]) <= tolerance * scale[free]).all(), "a free unit is not stationary"
    low = (a <= lo) & (lo < hi) & (lo > 0)
    assert (gap[low] <= tolerance * scale[low]).all(), "a unit should leave its lower bound"
    high = (a >= hi) & (lo < hi)
    assert (gap[high] >= -tolerance * scale[high]).all(), "a unit should leave its upper bound"
    rng = np.random.default_rng(seed)
    best = coding_entropy(a)
    for _ in range(200):
        # a random move, pulled back into the feasible set along the line to a strictly feasible point
        b = np.clip(a + STEP * rng.standard_normal(a.size), lo, hi)
        over = c @ b - t
        if (over > 0).any():
            room = c @ b - c @ lo
            with np.errstate(invalid="ignore", divide="ignore"):
                shrink = np.nanmax(np.where(over > 0, over / room, 0.0))
            b = b - shrink * (b - lo)
        assert coding_entropy(b) <= best + 1e-12 * max(1.0, best), "a feasible neighbour is better"
