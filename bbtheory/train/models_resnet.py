"""Residual networks for small and large images, alike for equal seeds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bbtheory import validate

_EXPANSION = 4  # of a bottleneck's output over its width
STEMS = {"small": (3, 1), "strided": (3, 2), "large": (7, 2)}  # kernel and stride


class ResidualBlock(nn.Module):
    """x -> relu(shortcut(x) + f(x)), f two 3x3 convolutions or a bottleneck of 1x1, 3x3 and 1x1.

    The stride is that of the first 3x3 convolution, and of a 1x1 convolution in the shortcut where shapes
    change. Every activation is a module of its own, so that on-rates are seen.
    """

    def __init__(self, n_in: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        n_out = width * (_EXPANSION if bottleneck else 1)
        shapes = [(n_in, width, 3, stride), (width, n_out, 3, 1)]
        if bottleneck:
            shapes = [(n_in, width, 1, 1), (width, width, 3, stride), (width, n_out, 1, 1)]
        parts: list[nn.Module] = []
        for i, (a, b, size, step) in enumerate(shapes):
            parts += [nn.ReLU()] if i else []
            parts += [nn.Conv2d(a, b, size, step, size // 2, bias=False), nn.BatchNorm2d(b)]
        self.body = nn.Sequential(*parts)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network; see `resnet`. ``fc`` reads what `embed` returns."""

    def __init__(
        self, blocks: Sequence[int], widths: Sequence[int], n_channels: int, n_classes: int,
        bottleneck: bool, stem: str,
    ):  # fmt: skip
        super().__init__()
        size, stride = STEMS[stem]
        n = widths[0]
        first: list[nn.Module] = [
            nn.Conv2d(n_channels, n, size, stride, size // 2, bias=False),
            nn.BatchNorm2d(n),
            nn.ReLU(),
        ]
        if stem == "large":
            first.append(nn.MaxPool2d(3, 2, 1))
        self.stem = nn.Sequential(*first)
        stages = []
        for i, (depth, width) in enumerate(zip(blocks, widths, strict=True)):
            stage = []
            for j in range(depth):
                stage.append(ResidualBlock(n, width, 2 if i and not j else 1, bottleneck))
                n = width * (_EXPANSION if bottleneck else 1)
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(n, n_classes)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of images (batch, channels, height, width) before the last layer."""
        # channels innermost: a third faster on a CPU, and what accelerators' mixed precision asks for
        h = self.stem(x).contiguous(memory_format=torch.channels_last)
        return self.flatten(self.pool(self.stages(h)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of images (batch, channels, height, width)."""
        return self.fc(self.embed(x))


def resnet(
    blocks: Sequence[int] = (3, 4, 6, 3),
    widths: Sequence[int] | None = None,
    *,
    n_channels: int = 3,
    n_classes: int = 10,
    bottleneck: bool = True,
    stem: str = "small",
    seed: int = 0,
) -> ResNet:
    """Residual network; weights of convolutions by He et al.'s rule, the rest by torch's own.

    (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) ResNet-101; (1, 1, 1) without bottlenecks and with widths 16, 32
    and 64 is ResNet-8 of the form for CIFAR.

    Parameters
    ----------
    blocks : sequence of int
        Blocks of each stage, >= 1; all stages but the first halve the map.
    widths : sequence of int, optional
        Channels of each stage within its blocks, a quarter of those that leave a bottleneck;
        64, 128, 256, ... if not given.
    n_channels, n_classes : int
        >= 1.
    bottleneck : bool
    stem : {"small", "strided", "large"}
        A 3x3 convolution, for images of about 32 x 32; with stride 2, at a quarter of the cost; or 7x7 with
        stride 2 and max pooling, for 224 x 224.
    seed : int
        Of the weights, >= 0; the global generator is left alone.

    Returns
    -------
    ResNet

    Raises
    ------
    ValueError
        If blocks and widths differ in number, or an argument is outside its domain.

    References
    ----------
    He et al. 2016 (arXiv 1512.03385); the stride at a bottleneck's 3x3 convolution is the common variant.
    """
    blocks = [validate.integer("blocks", n, "[1, inf)") for n in blocks]
    widths = [64 * 2**i for i in range(len(blocks))] if widths is None else widths
    widths = [validate.integer("widths", n, "[1, inf)") for n in widths]
    if not blocks or len(blocks) != len(widths):
        raise ValueError(
            f"widths must be as many as blocks, at least one, got {len(widths)} and {len(blocks)}"
        )
    n_channels = validate.integer("n_channels", n_channels, "[1, inf)")
    n_classes = validate.integer("n_classes", n_classes, "[1, inf)")
    validate.choice("stem", stem, STEMS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(validate.integer("seed", seed, "[0, inf)"))
        model = ResNet(blocks, widths, n_channels, n_classes, bottleneck, stem)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def block_convolutions(model: nn.Module) -> list[str]:
    """Return the names of the convolutions within the blocks of a network, shortcuts included."""
    return [
        f"{name}.{part}"
        for name, block in model.named_modules()
        if isinstance(block, ResidualBlock)
        for part, module in block.named_modules()
        if isinstance(module, nn.Conv2d)
    ]


def pointwise_convolutions(model: nn.Module) -> list[str]:
    """Return the names of the 1x1 convolutions of bottlenecks: pairs of channels; no shortcuts."""
    modules = dict(model.named_modules())
    names = [name for name in block_convolutions(model) if ".body." in name]
    return [name for name in names if getattr(modules[name], "kernel_size", None) == (1, 1)]
