"""Pruners that rank links by the gradient of the loss."""

from __future__ import annotations

import torch

from bbtheory.train.masking import MaskedWeight
from bbtheory.train.measured import Measured
from bbtheory.train.recording import GradientRecorder


class Gradient(Measured):
    """Keeps the weights that the loss is most sensitive to, score mean |dL/dw| over backward passes.

    The gradient is that of the dense loss, also at cut weights (which compete only with dormant="stored").

    Parameters
    ----------
    model, density, schedule and others : see `Ranked`
    batches : int
        Optimizer steps before a refresh whose gradients are averaged, >= 1.

    References
    ----------
    The gradient saliency of the pruning-law experiments, arXiv 2504.05349, authors' code.
    """

    def recorder(self, weight: MaskedWeight) -> GradientRecorder:
        """What listens for one weight."""
        return GradientRecorder(weight, signed=False)

    def score(self, name: str, weight: MaskedWeight) -> torch.Tensor:
        """Mean |dL/dw|, summed over the link."""
        return weight.per_link(self.measured(name))


class Taylor(Gradient):
    """Keeps the weights whose removal changes the loss most to first order, score |w| mean |dL/dw|.

    With gradients of one pass this is |w dL/dw|; w is the weight at the refresh.

    Parameters
    ----------
    model, density, schedule, batches and others : see `Gradient`

    References
    ----------
    Molchanov et al. 2019 (arXiv 1906.10771): the first-order criterion, there squared; the saliency
    "Taylor" of the pruning-law experiments, arXiv 2504.05349.
    """

    def score(self, name: str, weight: MaskedWeight) -> torch.Tensor:
        """Mean |w dL/dw|, summed over the link."""
        return weight.per_link(weight.peek().abs() * self.measured(name))
