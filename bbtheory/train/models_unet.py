"""A 3-D U-Net for volumes whose sections are thicker than their pixels are wide."""

from __future__ import annotations

import torch
from torch import nn

from bbtheory import validate

NORMS = ("batch", "group")
_GROUPS = 4  # of channels that group normalisation takes together, at most


class UNet3d(nn.Module):
    """Encoder, decoder and skip connections; convolution (with bias), normalisation, ReLU, twice a level.

    Layers are named ``encode{l}.conv1``, ``encode{l}.conv2``, ``decode{l}.up``, ``decode{l}.skip``,
    ``decode{l}.conv2`` and ``head``, l = 0 the finest level. Level l has width * 2^l channels and pixels 2^l
    times as wide: pooling is within sections only. Kernels are 1 x 3 x 3; on the ``n_deep`` coarsest levels,
    where pixels are about as wide as sections are thick, the first one is 3 x 3 x 3.

    The convolution of a decoder over what comes from below beside the skip connection is written as the sum
    of one convolution of each, which is the same function: so each layer reads the units of one other.

    Parameters
    ----------
    width : int
        Channels of the finest level, >= 1.
    depth : int
        Levels, >= 2.
    n_deep : int
        In [0, depth].
    norm : {"batch", "group"}
    prior : float
        Share of the positive class that the untrained network predicts, in (0, 1): the bias of the head.
    seed : int
        Of the weights, >= 0; the global generator is left alone.

    Notes
    -----
    Takes (batch, 1, sections, height, width) with height and width multiples of 2^(depth - 1), and returns
    logits of the same shape.

    References
    ----------
    Cicek et al. 2016, 3D U-Net; kernels and pools for anisotropic volumes as in Lee et al. 2017, arXiv
    1706.00120.
    """

    def __init__(
        self,
        width: int = 32,
        depth: int = 4,
        *,
        n_deep: int = 2,
        norm: str = "batch",
        prior: float = 0.5,
        seed: int = 0,
    ):
        super().__init__()
        width = validate.integer("width", width, "[1, inf)")
        self.depth = validate.integer("depth", depth, "[2, 16]")
        self.n_deep = validate.integer("n_deep", n_deep, f"[0, {depth}]")
        validate.choice("norm", norm, NORMS)
        prior = validate.real("prior", prior, "(0, 1)")
        channels = [width * 2**level for level in range(depth)]
        deep = [level >= depth - n_deep for level in range(depth)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(validate.integer("seed", seed, "[0, inf)"))
            for level, n in enumerate(channels):
                n_in = channels[level - 1] if level else 1
                self.add_module(f"encode{level}", _Encode(n_in, n, deep[level], norm, pool=level > 0))
            for level in range(depth - 2, -1, -1):
                below, n = channels[level + 1], channels[level]
                self.add_module(f"decode{level}", _Decode(below, n, deep[level], norm))
            self.head = nn.Conv3d(width, 1, 1)
            assert self.head.bias is not None  # a convolution has one unless told otherwise
            nn.init.constant_(self.head.bias, float(torch.logit(torch.tensor(prior))))

    @property
    def reach(self) -> int:
        """Sections on either side that the logits of a section depend on.

        The statistics of group normalisation, which are of all that is seen together, are not counted.
        """
        return unet_reach(self.n_deep)

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of."""
        return 2 ** (self.depth - 1)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Names of the layers between the first, which reads grey values, and the head."""
        names = [name for name, part in self.named_modules() if isinstance(part, nn.Conv3d)]
        return tuple(name for name in names if name not in ("encode0.conv1", "head"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        levels = []
        for level in range(self.depth):
            x = self.get_submodule(f"encode{level}")(x)
            levels.append(x)
        for level in range(self.depth - 2, -1, -1):
            x = self.get_submodule(f"decode{level}")(x, levels[level])
        return self.head(x)


def unet_reach(n_deep: int) -> int:
    """Return how far across sections a network sees, before it is made.

    Parameters
    ----------
    n_deep : int
        As of `UNet3d`, >= 0.
    """
    # each deep level once down and, but for the coarsest, once up
    return max(2 * validate.integer("n_deep", n_deep, "[0, inf)") - 1, 0)


class _Encode(nn.Module):
    """Pooling, and two convolutions."""

    def __init__(self, n_in: int, n_out: int, deep: bool, norm: str, *, pool: bool):
        super().__init__()
        self.pool = nn.MaxPool3d((1, 2, 2)) if pool else nn.Identity()
        self.conv1 = _convolution(n_in, n_out, deep)
        self.norm1, self.relu1 = _norm(n_out, norm), nn.ReLU()
        self.conv2 = _convolution(n_out, n_out, False)
        self.norm2, self.relu2 = _norm(n_out, norm), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.norm1(self.conv1(self.pool(x))))
        return self.relu2(self.norm2(self.conv2(x)))


class _Decode(nn.Module):
    """A convolution over the level below, enlarged, beside the skip connection; and another one."""

    def __init__(self, below: int, n_out: int, deep: bool, norm: str):
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")
        self.up = _convolution(below, n_out, deep)
        self.skip = _convolution(n_out, n_out, deep, bias=False)
        self.norm1, self.relu1 = _norm(n_out, norm), nn.ReLU()
        self.conv2 = _convolution(n_out, n_out, False)
        self.norm2, self.relu2 = _norm(n_out, norm), nn.ReLU()

    def forward(self, below: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.norm1(self.up(self.enlarge(below)) + self.skip(beside)))
        return self.relu2(self.norm2(self.conv2(x)))


def _convolution(n_in: int, n_out: int, deep: bool, *, bias: bool = True) -> nn.Conv3d:
    kernel = (3 if deep else 1, 3, 3)
    convolution = nn.Conv3d(n_in, n_out, kernel, padding=(kernel[0] // 2, 1, 1), bias=bias)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _norm(n: int, norm: str) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm3d(n)
    return nn.GroupNorm(next(g for g in range(min(_GROUPS, n), 0, -1) if n % g == 0), n)
