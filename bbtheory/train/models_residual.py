"""Residual networks of bottlenecks, ResNet-101 among them: their 1 x 1 convolutions are pairs of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bbtheory import validate

EXPANSION = 4  # output channels of a bottleneck per channel within
STEMS = ("small", "strided", "imagenet")


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolution, each followed by BatchNorm; ReLU between, and after the sum.

    Parameters
    ----------
    n_in, width : int
        Channels that come in, and within; ``EXPANSION * width`` go out.
    stride : int
        Of the 3 x 3 convolution.
    """

    def __init__(self, n_in: int, width: int, stride: int = 1):
        super().__init__()
        n_out = EXPANSION * width
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )
        self.relu3 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of both paths, rectified."""
        h = self.relu1(self.norm1(self.conv1(x)))
        h = self.relu2(self.norm2(self.conv2(h)))
        return self.relu3(self.norm3(self.conv3(h)) + self.shortcut(x))


class ResidualNetwork(nn.Module):
    """Stages of bottlenecks, mean over positions, one linear layer; the means are the embedding of an image.

    Parameters
    ----------
    n_classes : int
    blocks : sequence of int
        Bottlenecks of each stage; from the second stage on, the first one halves the image.
    width : int
        Channels within the first stage's bottlenecks; doubled from stage to stage.
    n_channels : int
        Of the images.
    stem : {"small", "strided", "imagenet"}
        One 3 x 3 convolution, the same with stride 2, or 7 x 7 with stride 2 and pooling.
    """

    def __init__(self, n_classes: int, blocks: Sequence[int], width: int, n_channels: int, stem: str):
        super().__init__()
        n_in = 64 if stem == "imagenet" else width
        if stem != "imagenet":
            self.conv = nn.Conv2d(n_channels, n_in, 3, 1 if stem == "small" else 2, 1, bias=False)
            self.pool: nn.Module = nn.Identity()
        else:
            self.conv = nn.Conv2d(n_channels, n_in, 7, 2, 3, bias=False)
            self.pool = nn.MaxPool2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(n_in)
        self.relu = nn.ReLU()
        made: list[nn.Module] = []
        for stage, n_blocks in enumerate(blocks):
            inner = width * 2**stage
            for i in range(n_blocks):
                made.append(Bottleneck(n_in, inner, 2 if i == 0 and stage > 0 else 1))
                n_in = EXPANSION * inner
        self.blocks = nn.Sequential(*made)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classify = nn.Linear(n_in, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for block in made:
            # each bottleneck starts as the identity, which lets deep networks train
            nn.init.zeros_(block.norm3.weight)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the embeddings, (batch, channels)."""
        # channels innermost: a third faster on a CPU, and what accelerators' mixed precision asks for
        h = self.conv(x).contiguous(memory_format=torch.channels_last)
        return self.flatten(self.mean(self.blocks(self.pool(self.relu(self.norm(h))))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, n_classes)."""
        return self.classify(self.embed(x))

    @property
    def pointwise(self) -> list[str]:
        """Names of the 1 x 1 convolutions within bottlenecks, shortcuts left out."""
        return [f"blocks.{i}.{name}" for i in range(len(self.blocks)) for name in ("conv1", "conv3")]


def residual_network(
    n_classes: int,
    blocks: Sequence[int] = (3, 4, 23, 3),
    width: int = 64,
    *,
    n_channels: int = 3,
    stem: str = "imagenet",
    seed: int = 0,
) -> ResidualNetwork:
    """Make a residual network of bottlenecks; ResNet-101 by default, ResNet-50 with blocks (3, 4, 6, 3).

    Parameters
    ----------
    n_classes : int
        >= 1.
    blocks : sequence of int
        Bottlenecks of each stage, >= 1.
    width, n_channels : int
        Channels within the first bottlenecks, and of the images, >= 1.
    stem : {"small", "strided", "imagenet"}
        See `ResidualNetwork`; "small" is that of 32 x 32 images.
    seed : int
        Of the weights, >= 0; the global generator is left alone.

    Returns
    -------
    ResidualNetwork

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    He et al. 2016, table 1 and section 4.1; the stride lies in the 3 x 3 convolution, as is usual since.
    """
    n_classes = validate.integer("n_classes", n_classes, "[1, inf)")
    blocks = [validate.integer("blocks", n, "[1, inf)") for n in blocks]
    if not blocks:
        raise ValueError("blocks must name a stage, got none")
    width = validate.integer("width", width, "[1, inf)")
    n_channels = validate.integer("n_channels", n_channels, "[1, inf)")
    validate.choice("stem", stem, STEMS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(validate.integer("seed", seed, "[0, inf)"))
        return ResidualNetwork(n_classes, blocks, width, n_channels, stem)
