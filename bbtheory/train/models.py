"""Networks that experiments share: fully connected ones, LeNet-300-100 among them, alike for equal seeds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from bbtheory import validate


def mlp(widths: Sequence[int], *, seed: int = 0, flatten: bool = False) -> nn.Sequential:
    """Fully connected ReLU network with layers fc1, fc2, ...; weights by torch's own initialisation.

    Parameters
    ----------
    widths : sequence of int
        Units of the input, of each hidden layer and of the output, >= 1; two at least.
    seed : int
        Of the weights, >= 0; the global generator is left alone.
    flatten : bool
        Whether the input has more axes, (batch, ...), that are flattened first.

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    ValueError
        If there are fewer than two widths, or an argument is outside its domain.
    """
    if len(widths) < 2:
        raise ValueError(f"widths must name an input and an output, got {len(widths)}")
    widths = [validate.integer("widths", width, "[1, inf)") for width in widths]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if flatten:
        parts["flatten"] = nn.Flatten()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(validate.integer("seed", seed, "[0, inf)"))
        for i, (n_in, n_out) in enumerate(pairwise(widths), 1):
            parts[f"fc{i}"] = nn.Linear(n_in, n_out)
            if i < len(widths) - 1:
                parts[f"relu{i}"] = nn.ReLU()
    return nn.Sequential(parts)


def lenet_300_100(n_inputs: int = 784, n_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """LeNet-300-100: n_inputs-300-100-n_classes, ReLU; 266,200 weights for 28 x 28 images and 10 classes.

    Parameters
    ----------
    n_inputs, n_classes : int
        >= 1.
    seed : int
        Of the weights, >= 0.

    Returns
    -------
    torch.nn.Sequential
        Takes (batch, n_inputs), or images that are flattened to it.

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    LeCun et al. 1998, the network with two hidden layers of 300 and 100 units; ReLU as in the pruning
    literature.
    """
    n_inputs = validate.integer("n_inputs", n_inputs, "[1, inf)")
    n_classes = validate.integer("n_classes", n_classes, "[1, inf)")
    return mlp((n_inputs, 300, 100, n_classes), seed=seed, flatten=True)
