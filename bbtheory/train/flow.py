"""The optimizer of presence variables: SGD with momentum, or Adam, on tensors of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bbtheory import validate

RULES = ("adam", "sgd")
STARTS = {"adam": (0.2, 0.5), "sgd": (0.0002, 0.0005)}  # ends of the uniform draw of t, authors' code


@dataclass(frozen=True)
class Flow:
    """How presence t moves along its gradient, as torch.optim.Adam and SGD do without weight decay.

    Parameters
    ----------
    rule : {"adam", "sgd"}
    lr : float
        Learning rate, > 0.
    betas : (float, float)
        Of Adam, in [0, 1).
    eps : float
        Of Adam, > 0, in the unit of the gradient. The pressure is a gradient of gamma/N: where the root mean
        square gradient is far below eps a step shrinks in proportion, which moves the time to reach a
        density and not the density.
    momentum : float
        Of SGD, in [0, 1), without dampening.

    Raises
    ------
    ValueError
        If a value is outside its domain.
    """

    rule: str = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        validate.choice("rule", self.rule, RULES)
        object.__setattr__(self, "lr", validate.real("lr", self.lr, "(0, inf)"))
        first, second = validate.array("betas", self.betas, "[0, 1)", shape=(2,)).tolist()
        object.__setattr__(self, "betas", (first, second))
        object.__setattr__(self, "eps", validate.real("eps", self.eps, "(0, inf)"))
        object.__setattr__(self, "momentum", validate.real("momentum", self.momentum, "[0, 1)"))

    @property
    def n_moments(self) -> int:
        """Tensors that are remembered for each t."""
        return 2 if self.rule == "adam" else int(self.momentum > 0)

    def adam_step(self, lr: float, number: int) -> tuple[float, float]:
        """Adam's step size and scale of the root, both corrected for the bias of step ``number`` >= 1."""
        first, second = (1.0 - beta**number for beta in self.betas)
        return lr / first, 1.0 / math.sqrt(second)

    def update(
        self,
        t: torch.Tensor,
        moments: tuple[torch.Tensor, ...],
        gradient: torch.Tensor,
        lr: float,
        number: int,
    ) -> None:
        """Make step ``number`` >= 1 of size lr, in place; the gradient is overwritten."""
        if self.rule == "sgd":
            if moments:
                gradient = moments[0].mul_(self.momentum).add_(gradient)
            t.sub_(gradient, alpha=lr)
            return
        mean, square = moments
        step, root = self.adam_step(lr, number)
        mean.lerp_(gradient, 1.0 - self.betas[0])
        square.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1.0 - self.betas[1])
        torch.sqrt(square, out=gradient).mul_(root).add_(self.eps)
        t.addcdiv_(mean, gradient, value=-step)
