"""Settings of the flux world, checked at construction: loss, optimizers, and who sets the pressure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from bbtheory import validate
from bbtheory.schedules import PressureState, follow_trajectory, ratchet_pressure

RECURSIONS = {"follow": follow_trajectory, "ratchet": ratchet_pressure}
RULES = ("sgd", "adam")


@dataclass(frozen=True, eq=False, init=False)
class SolvableLoss:
    """Loss whose weights do not interact, L = 1/2 sum_j lambda_j (theta_j - w*_j)^2, with gradient noise.

    Parameters
    ----------
    curvature : array_like (n,)
        lambda_j >= 0.
    optimum : array_like (n,)
        w*_j.
    noise : array_like (n,) or float
        Standard deviation of the noise on dL/dtheta_j at each step, independent normal, >= 0.

    Raises
    ------
    ValueError
        If a value is outside its domain or lengths differ.
    """

    curvature: np.ndarray
    optimum: np.ndarray
    noise: np.ndarray

    def __init__(self, curvature: ArrayLike, optimum: ArrayLike, noise: ArrayLike = 0.0) -> None:
        n = np.size(curvature)
        object.__setattr__(self, "curvature", validate.array("curvature", curvature, "[0, inf)").copy())
        object.__setattr__(self, "optimum", validate.array("optimum", optimum, shape=(n,)).copy())
        object.__setattr__(self, "noise", each("noise", noise, "[0, inf)", n))

    @property
    def n_weights(self) -> int:
        """Number of weights n."""
        return self.curvature.size


@dataclass(frozen=True, eq=False, init=False)
class RegressionLoss:
    """Half the mean squared residual of a linear model, L = 1/(2 m) sum_i (x_i theta - y_i)^2, by minibatch.

    Parameters
    ----------
    features : array_like (m, n)
        x_ij, one row per sample.
    targets : array_like (m,)
        y_i.
    batch : int
        Samples per step, drawn with replacement; 0: all of them, each once.

    Raises
    ------
    ValueError
        If a value is outside its domain or lengths differ.
    """

    features: np.ndarray
    targets: np.ndarray
    batch: int

    def __init__(self, features: ArrayLike, targets: ArrayLike, batch: int = 0) -> None:
        clean = validate.array("features", features, ndim=2).copy()
        object.__setattr__(self, "features", clean)
        object.__setattr__(self, "targets", validate.array("targets", targets, shape=clean.shape[:1]).copy())
        object.__setattr__(self, "batch", validate.integer("batch", batch, "[0, 1e9]"))

    @property
    def n_weights(self) -> int:
        """Number of weights n."""
        return self.features.shape[1]

    @cached_property
    def optimum(self) -> np.ndarray:
        """Weights of least squares over all samples, the shortest such vector where it is not unique."""
        return np.linalg.lstsq(self.features, self.targets, rcond=None)[0]

    @cached_property
    def gram(self) -> np.ndarray:
        """Second moments of the features, C_jk = mean_i x_ij x_ik."""
        return self.features.T @ self.features / self.features.shape[0]


def draw_regression(
    optimum: ArrayLike,
    *,
    correlation: float,
    n_samples: int,
    noise: float = 0.0,
    batch: int = 0,
    seed: int = 0,
) -> RegressionLoss:
    """Draw a regression of correlated features, corr(x_j, x_k) = rho^|j-k|, with labels y = x w* + noise.

    Parameters
    ----------
    optimum : array_like (n,)
        w* of the population; least squares over the samples differs from it by the label noise.
    correlation : float
        rho in (-1, 1); features are normal with mean 0 and variance 1.
    n_samples : int
        m >= 1.
    noise : float
        Standard deviation of the labels' noise, >= 0.
    batch : int
        As `RegressionLoss`.
    seed : int

    Returns
    -------
    RegressionLoss

    Raises
    ------
    ValueError
        If an argument is outside its domain.
    """
    optimum = validate.array("optimum", optimum)
    rho = validate.real("correlation", correlation, "(-1, 1)")
    n_samples = validate.integer("n_samples", n_samples, "[1, inf)")
    validate.room("n_samples", n_samples, n_samples * optimum.size)
    noise = validate.real("noise", noise, "[0, inf)")
    rng = np.random.default_rng(validate.integer("seed", seed, "[0, inf)"))
    features = rng.standard_normal((n_samples, optimum.size))
    for j in range(1, optimum.size):
        features[:, j] = rho * features[:, j - 1] + np.sqrt(1.0 - rho**2) * features[:, j]
    targets = features @ optimum + noise * rng.standard_normal(n_samples)
    return RegressionLoss(features, targets, batch)


@dataclass(frozen=True)
class Optimizer:
    """SGD with momentum, or Adam, as torch.optim defines them.

    Parameters
    ----------
    rule : {"sgd", "adam"}
    learning_rate : float
        > 0.
    momentum : float
        Of SGD, in [0, 1); without dampening, so that it multiplies the rate by 1/(1 - momentum) in the end.
    decay1, decay2 : float
        Of Adam, in [0, 1).
    eps : float
        Of Adam, > 0, in the unit of the gradient: where the root mean square gradient is far below it, a step
        shrinks in proportion.
    weight_decay : float
        delta >= 0, added to the gradient as delta times the variable, for present and absent weights alike.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    """

    rule: str = "sgd"
    learning_rate: float = 1e-3
    momentum: float = 0.0
    decay1: float = 0.9
    decay2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        validate.choice("rule", self.rule, RULES)
        for name, domain in (
            ("learning_rate", "(0, inf)"),
            ("momentum", "[0, 1)"),
            ("decay1", "[0, 1)"),
            ("decay2", "[0, 1)"),
            ("eps", "(0, inf)"),
            ("weight_decay", "[0, inf)"),
        ):
            object.__setattr__(self, name, validate.real(name, getattr(self, name), domain))


@dataclass(frozen=True)
class PressureSchedule:
    """The authors' scheduler: pressure set after each epoch from the density then, to follow a trajectory.

    Parameters
    ----------
    trajectory : sequence of float
        Densities D[0], D[1], ..., say of `bbtheory.schedules.sigmoid_trajectory`; from its last epoch on the
        pressure stays as it is.
    recursion : {"follow", "ratchet"}
        `bbtheory.schedules.follow_trajectory`, or `ratchet_pressure`, which never eases.
    step : float
        h > 0.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    """

    trajectory: Sequence[float]
    recursion: str = "follow"
    step: float = 0.2

    def __post_init__(self) -> None:
        trajectory = validate.array("trajectory", self.trajectory, "[0, 1]")
        object.__setattr__(self, "trajectory", tuple(trajectory.tolist()))
        validate.choice("recursion", self.recursion, RECURSIONS)
        object.__setattr__(self, "step", validate.real("step", self.step, "(0, inf)"))

    def after(self, state: PressureState, epoch: int, density: float) -> PressureState:
        """Return the state that follows an epoch which ended at this density."""
        return RECURSIONS[self.recursion](state, epoch, density, self.trajectory, step=self.step)


def each(name: str, value: ArrayLike, domain: str, n: int) -> np.ndarray:
    """Return one value per weight, in an array of its own."""
    if np.ndim(value) == 0:
        return np.full(n, validate.real(name, value, domain))
    return validate.array(name, value, domain, shape=(n,)).copy()
