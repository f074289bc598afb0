"""Log-mel features of speech."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike

from bbtheory import validate

_FLOOR = 1e-6  # added to powers before the logarithm; 16-bit noise of a unit windowed sine is far below
_LEAST_SPREAD = 1e-3  # nats: a band that never changes is not blown up by normalisation


def mel_filter_bank(rate: int, n_fft: int, n_mels: int) -> torch.Tensor:
    """Triangular filters, equally spaced on the mel scale m(f) = 2595 log10(1 + f/700) from 0 to rate/2.

    Filter j rises from 0 at f_{j-1} to 1 at f_j and falls to 0 at f_{j+1}.

    Parameters
    ----------
    rate : int
        Samples per second.
    n_fft : int
        Length of the Fourier transform, >= 2; bin k lies at k rate/n_fft.
    n_mels : int
        >= 1.

    Returns
    -------
    tensor (n_fft // 2 + 1, n_mels), float32

    Raises
    ------
    ValueError
        If an argument is outside its domain, or a filter lies between two bins.
    """
    rate = validate.integer("rate", rate, "[1, inf)")
    n_fft = validate.integer("n_fft", n_fft, "[2, inf)")
    n_mels = validate.integer("n_mels", n_mels, "[1, inf)")
    mels = np.linspace(0.0, 2595.0 * math.log10(1.0 + rate / 2 / 700.0), n_mels + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    f = np.arange(n_fft // 2 + 1)[:, None] * (rate / n_fft)
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    bank = np.clip(np.minimum(rising, falling), 0.0, None)
    if (bank.sum(0) == 0).any():
        raise ValueError(f"n_mels must leave a bin of {n_fft} to each filter at {rate} Hz, got {n_mels}")
    return torch.from_numpy(bank.astype(np.float32))


class LogMel:
    """Log-mel features, ln(1e-6 + sum_k F_kj |X_k|^2), of a waveform at one rate.

    Parameters
    ----------
    rate : int
        Samples per second.
    n_mels : int
    window, hop : float
        Length of the Hann window and its step, seconds; the transform is as long as the next power of two.

    Raises
    ------
    ValueError
        If an argument is outside its domain, see `mel_filter_bank`.
    """

    def __init__(self, rate: int, n_mels: int, *, window: float = 0.025, hop: float = 0.01):
        self.rate = validate.integer("rate", rate, "[1, inf)")
        self.window = round(validate.real("window", window, "(0, inf)") * self.rate)
        self.hop = round(validate.real("hop", hop, "(0, inf)") * self.rate)
        if self.window < 2 or self.hop < 1:
            raise ValueError(f"window and hop must span samples at {rate} Hz, got {window} s and {hop} s")
        validate.room("window", window, self.window)
        self.n_fft = 1 << (self.window - 1).bit_length()
        self.bank = mel_filter_bank(self.rate, self.n_fft, n_mels)
        self.hann = torch.hann_window(self.window)

    def __call__(self, waveform: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Features of one utterance, (n_frames, n_mels), n_frames = 1 + n_samples // hop.

        Raises
        ------
        ValueError
            If the waveform has not one axis: one channel.
        """
        signal = torch.as_tensor(waveform, dtype=torch.float32)
        if signal.dim() != 1:
            raise ValueError(f"waveform must have one axis, got shape {tuple(signal.shape)}")
        # silence around the utterance: its first and last frames are centred at its ends
        spectrum = torch.stft(
            signal, self.n_fft, self.hop, self.window, self.hann, pad_mode="constant", return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return (power.T @ self.bank + _FLOOR).log()


def normalised(features: torch.Tensor) -> torch.Tensor:
    """Features of one utterance with mean 0 and standard deviation 1 in each band."""
    centred = features - features.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp(min=_LEAST_SPREAD)
