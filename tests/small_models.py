"""Small networks and a training step that the tests of the pruners share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

torch.set_num_threads(1)


def mlp(seed: int = 0, widths: tuple[int, ...] = (20, 40, 30, 5)) -> nn.Sequential:
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class ConvNet(nn.Module):
    """Convolutions, grouped too, with normalisation, functional activations, pooling and a flattened map."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3, groups=4, padding=1)
        self.fc1 = nn.Linear(12 * 4, 16)
        self.fc2 = nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 2)
        x = nn.functional.relu(self.conv2(x))
        x = torch.flatten(nn.functional.max_pool2d(x, 2), 1)
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Attention(nn.Module):
    """Self-attention, whose projections are called as functions, and a feed-forward part."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.up, self.act, self.down = nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)

    def forward(self, x):
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.down(self.act(self.up(x)))


def batch(step: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(step))


def train(model, optimizer, pruner=None, *, steps=range(1, 41), shape=(32, 20)):
    """Regress to a fixed target; the batch of a step depends on the step alone."""
    for step in steps:
        optimizer.zero_grad()
        out = model(batch(step, *shape))
        (out - 0.3).pow(2).mean().backward()
        optimizer.step()
        if pruner is not None:
            pruner.step()


def cut_are_zero(pruner) -> bool:
    return all(
        not bool((w.parameter.detach() * (~w.per_weight(w.mask))).any()) for w in pruner.weights.values()
    )
