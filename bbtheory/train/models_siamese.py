"""FC-Siam-conc: one encoder for two dates, a decoder that reads the maps of both; and how far it sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bbtheory import validate

WIDTHS = (16, 32, 64, 128)
DEPTHS = (2, 2, 3, 3)  # convolutions of each level


class ConvUnit(nn.Module):
    """3 x 3 convolution with bias, BatchNorm, ReLU, dropout of channels: in this order in every network."""

    def __init__(self, n_in: int, n_out: int, dropout: float):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rectified maps."""
        return self.drop(self.relu(self.norm(self.conv(x))))


class SiameseNetwork(nn.Module):
    """FC-Siam-conc, one logit of change per pixel.

    Both dates go through the encoder as one batch, so that they share its weights and its statistics. A level
    of the decoder reads the map from below, doubled, and the encoder's maps of both dates.

    Parameters
    ----------
    n_bands : int
    widths, depths : sequence of int
        Channels and convolutions of each level; a level has half the pixels a side of the one before.
    dropout : float
    """

    def __init__(self, n_bands: int, widths: Sequence[int], depths: Sequence[int], dropout: float):
        super().__init__()
        self.depths = tuple(depths)
        self.encoder = nn.ModuleList()
        self.enlarge = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.pool = nn.MaxPool2d(2)
        n_in = n_bands
        for width, depth in zip(widths, depths, strict=True):
            units = [ConvUnit(n_in if i == 0 else width, width, dropout) for i in range(depth)]
            self.encoder.append(nn.Sequential(*units))
            n_in = width
        for level in reversed(range(len(widths))):
            width, depth = widths[level], depths[level]
            # the last convolution of a level gives what the next one has; the top's is ``decide``
            below = widths[max(level - 1, 0)]
            n_units = depth if level > 0 else max(depth - 1, 1)
            outs = [width] * (n_units - 1) + [below]
            ins = [3 * width, *outs[:-1]]
            self.enlarge.append(nn.ConvTranspose2d(width, width, 3, 2, padding=1, output_padding=1))
            self.decoder.append(
                nn.Sequential(*(ConvUnit(i, o, dropout) for i, o in zip(ins, outs, strict=True)))
            )
        self.decide = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, height, width) of images (batch, bands, height, width)."""
        # channels innermost: faster on a CPU, and what accelerators' mixed precision asks for
        x = torch.cat([before, after]).contiguous(memory_format=torch.channels_last)
        maps = []
        for level in self.encoder:
            x = level(x)
            maps.append(x)
            x = self.pool(x)
        x = x.chunk(2)[1]
        for enlarge, level, skip in zip(self.enlarge, self.decoder, reversed(maps), strict=True):
            x = enlarge(x)
            # an odd side has lost its last row to the pooling
            missing = (0, skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2])
            x = nn.functional.pad(x, missing, mode="replicate")
            first, second = skip.chunk(2)
            x = level(torch.cat([x, first, second], 1))
        return self.decide(x).squeeze(1)

    @property
    def inner(self) -> list[str]:
        """Names of the 3 x 3 convolutions but the first, which reads the bands, and the last."""
        names = [name.removesuffix(".conv") for name, m in self.named_modules() if isinstance(m, ConvUnit)]
        return [f"{name}.conv" for name in names if name != "encoder.0.0"]

    @property
    def reach(self) -> int:
        """See `siamese_reach`."""
        return siamese_reach(self.depths)


def siamese_network(
    n_bands: int = 3,
    widths: Sequence[int] = WIDTHS,
    depths: Sequence[int] = DEPTHS,
    *,
    dropout: float = 0.2,
    seed: int = 0,
) -> SiameseNetwork:
    """Make an FC-Siam-conc; the published one by default.

    Parameters
    ----------
    n_bands : int
        >= 1.
    widths, depths : sequence of int
        Of equal length, >= 1 each.
    dropout : float
        Of whole channels, in [0, 1).
    seed : int
        Of the weights, >= 0; the global generator is left alone.

    Returns
    -------
    SiameseNetwork

    Raises
    ------
    ValueError
        If an argument is outside its domain.

    References
    ----------
    Daudt, Le Saux and Boulch, Fully convolutional Siamese networks for change detection, 2018. One logit
    stands for their two classes; its last convolution is the one that decides.
    """
    n_bands = validate.integer("n_bands", n_bands, "[1, inf)")
    widths = [validate.integer("widths", n, "[1, inf)") for n in widths]
    depths = _depths(depths)
    if len(widths) != len(depths):
        raise ValueError(f"widths and depths must have equal length, got {len(widths)} and {len(depths)}")
    dropout = validate.real("dropout", dropout, "[0, 1)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(validate.integer("seed", seed, "[0, inf)"))
        return SiameseNetwork(n_bands, widths, depths, dropout)


def siamese_reach(depths: Sequence[int] = DEPTHS) -> int:
    """Return how far a network sees: no pixel further than this along an axis changes a pixel's logit.

    The interval of positions that a position reads is followed back through every layer, for each place of a
    pixel relative to the pooling.

    Parameters
    ----------
    depths : sequence of int
        As of `siamese_network`.

    Returns
    -------
    int, pixels

    Raises
    ------
    ValueError
        If a depth is no integer >= 1.
    """
    depths = _depths(depths)
    reach = 0
    for place in range(2 ** len(depths)):
        low = high = place
        ends = []  # of what the skips of each level read
        for level, depth in enumerate(depths):
            # at the top, ``decide`` is one of the level's convolutions, but there are two at least
            n = depth if level > 0 else max(depth, 2)
            low, high = low - n, high + n
            ends.append((low, high))
            low, high = -(-(low - 1) // 2), (high + 1) // 2  # a doubled map, kernel 3
        for depth, (skip_low, skip_high) in zip(reversed(depths), reversed(ends), strict=True):
            low, high = min(2 * low, skip_low), max(2 * high + 1, skip_high)  # pooling
            low, high = low - depth, high + depth
        reach = max(reach, place - low, high - place)
    return reach


def _depths(depths: Sequence[int]) -> list[int]:
    depths = [validate.integer("depths", n, "[1, inf)") for n in depths]
    if not depths:
        raise ValueError("depths must name a level, got none")
    return depths


def change_loss(
    model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], unlabelled: int = 255
) -> torch.Tensor:
    """Mean binary cross-entropy over labelled pixels, nats; 0 where there is none.

    Parameters
    ----------
    model : callable (before, after) -> logits (batch, height, width)
    batch : tuple of Tensor
        before, after, label; the label is 1 change, 0 none, or ``unlabelled``.
    """
    before, after, label = batch
    logits = model(before, after).float()
    known = label != unlabelled
    loss = nn.functional.binary_cross_entropy_with_logits(
        logits, (label == 1).to(logits.dtype), known.to(logits.dtype), reduction="sum"
    )
    return loss / known.sum().clamp(min=1)
