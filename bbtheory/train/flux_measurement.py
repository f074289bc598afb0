"""Measured flux: how the gradient answers when a weight is removed, in four cases of sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.tables import format_table
from bbtheory.train.masked_model import MaskedModel
from bbtheory.train.presence import KAPPA
from bbtheory.train.seeding import stream_seed

Loss = Callable[[nn.Module, Any], torch.Tensor]

CASES = ("w+ g-", "w- g+", "w+ g+", "w- g-")  # the loss pulls back towards w in the first two
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False)
class LayerFlux(Record):
    """Flux of one layer; counts by the signs of w and of g = dL/dtheta with the weight removed, see `CASES`.

    In the first two cases the loss pulls a removed weight back towards w (flux > 0), in the others it keeps
    it away; a product of exactly 0 counts as the latter.
    """

    KIND: ClassVar[str] = "layer_flux"

    layer: str
    n_present: int
    n_absent: int
    absent_cases: tuple[int, ...]
    present_cases: tuple[int, ...]
    absent_above: float  # share of absent weights whose flux is above the pressure: on their way back
    present_below: float  # share of present weights whose flux is below the pressure; NaN without any
    present_low: float  # quantiles 0.05, 0.5, 0.95 of the flux of present weights; NaN without any
    present_median: float
    present_high: float
    stderr: float  # root mean square standard error of the flux of a present weight, over probes


@dataclass(frozen=True, eq=False)
class FluxMeasurement(Record):
    """Flux F_i = -kappa N w_i dL/dtheta_i, taken at theta_i = 0, in the unit of the pressure.

    Parameters
    ----------
    pressure : float
        gamma that the fluxes are compared with.
    n_weights, n_batches, n_probes : int
    layers : tuple of LayerFlux
    sample_layer : tuple of str
        Present weights that were removed one by one.
    sample_index : array (n_sample,)
        Their places in the flattened weight.
    sample_exact, sample_estimate, sample_stderr : array (n_sample,)
        Their flux by removal, by the estimate, and the estimate's standard error.
    """

    KIND: ClassVar[str] = "flux_measurement"
    UNITS: ClassVar[Mapping[str, str]] = {
        name: name for name in ("sample_layer", "sample_index", "sample_exact", "sample_estimate")
    }

    pressure: float
    n_weights: int
    n_batches: int
    n_probes: int
    layers: tuple[LayerFlux, ...]
    sample_layer: tuple[str, ...]
    sample_index: np.ndarray
    sample_exact: np.ndarray
    sample_estimate: np.ndarray
    sample_stderr: np.ndarray

    def __str__(self) -> str:
        """Return the layers as a table."""
        head = ["layer", "present", "absent"]
        head += [f"{state} {case}" for state in ("absent", "present") for case in CASES]
        head += ["absent > pressure", "present < pressure", "flux 5 %", "50 %", "95 %", "stderr"]
        rows = []
        for f in self.layers:
            counts = [f.layer, f.n_present, f.n_absent, *f.absent_cases, *f.present_cases]
            spread = [f.present_low, f.present_median, f.present_high, f.stderr]
            rows.append([*counts, f.absent_above, f.present_below, *spread])
        return f"flux in the unit of the pressure, {self.pressure:g} now\n\n{format_table(head, rows)}"


@dataclass(frozen=True, eq=False)
class Flux:
    """Flux of each weight of one layer, and the standard error of what is estimated (0 at absent weights)."""

    value: torch.Tensor
    stderr: torch.Tensor


def estimate_flux(
    masked: MaskedModel, batches: Iterable[Any], loss: Loss, *, probes: int = 8, seed: int = 0
) -> dict[str, Flux]:
    """Flux F_i = -kappa N w_i dL/dtheta_i at theta_i = 0: exact if absent, to first order if present.

    An absent weight is at theta_i = 0 already. For a present one the gradient after its removal is

        g_i - theta_i H_ii,

    with the diagonal of the Hessian from products with random signs e of the present weights,
    theta_i H_ii = mean of e_i (H (e theta))_i, which is free of bias. Its standard error, over probes, is
    large where weights interact: on a trained LeNet-300-100 it exceeds most fluxes at 8 probes, and
    `measure_flux` removes a sample of weights exactly.

    Parameters
    ----------
    masked : Hyperflux or another pruner
        Where cut weights are forgotten their w, and so their flux, is 0.
    batches : iterable
        Passes in evaluation mode, each batch of equal weight; a list, it is gone through once.
    loss : callable (model, batch) -> scalar tensor
        Differentiable twice; what a pruned weight may change.
    probes : int
        >= 2.
    seed : int

    Returns
    -------
    dict of layer name to Flux

    Raises
    ------
    ValueError
        If an argument is outside its domain or there is no batch.

    References
    ----------
    Hyperflux (arXiv 2504.05349) for flux; the estimate is this project's.
    """
    validate.instance("masked", masked, MaskedModel)
    probes = validate.integer("probes", probes, "[2, inf)")
    generator = torch.Generator().manual_seed(stream_seed(seed, "flux"))
    weights = list(masked.weights.values())
    parameters = [w.parameter for w in weights]
    kept = [w.per_weight(w.mask).expand(p.shape) for w, p in zip(weights, parameters, strict=True)]
    gradient = [torch.zeros_like(p) for p in parameters]
    answers = [[torch.zeros_like(p) for p in parameters] for _ in range(probes)]
    signs = [[_signs(p, generator) for p in parameters] for _ in range(probes)]
    n_batches = 0
    with _Evaluation(masked.model):
        for batch in batches:
            n_batches += 1
            value = loss(masked.model, batch)
            first = torch.autograd.grad(value, parameters, create_graph=True, materialize_grads=True)
            _add(gradient, first)
            for e, answer in zip(signs, answers, strict=True):
                toward = sum((g * s * p.detach()).sum() for g, s, p in zip(first, e, parameters, strict=True))
                if not torch.is_tensor(toward) or not toward.requires_grad:
                    continue  # a loss without curvature
                second = torch.autograd.grad(
                    toward, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                _add(answer, [h * s for h, s in zip(second, e, strict=True)])
            del first
    if n_batches == 0:
        raise ValueError("batches must give at least one batch, got none")
    fluxes = {}
    factor = -KAPPA * masked.n_weights / n_batches
    for i, (name, weight) in enumerate(masked.weights.items()):
        w = weight.candidates()
        own = torch.stack([answer[i] for answer in answers])
        value = factor * w * (gradient[i] - own.mean(0) * kept[i])
        stderr = (factor * w * own.std(0)).abs() / probes**0.5 * kept[i]
        fluxes[name] = Flux(value, stderr)
    return fluxes


def measure_flux(
    masked: MaskedModel,
    batches: Iterable[Any],
    loss: Loss,
    *,
    pressure: float | None = None,
    probes: int = 8,
    sample: int = 0,
    seed: int = 0,
) -> FluxMeasurement:
    """Measure the flux of all weights, by layer and by case of sign; some are removed one by one as a check.

    Parameters
    ----------
    masked, batches, loss, probes, seed : see `estimate_flux`
    pressure : float, optional
        gamma >= 0 to compare with; that of the pruner if it has one, else 0.
    sample : int
        Present weights, drawn from all of them, to remove one by one, each for a pass over the batches; >= 0.

    Returns
    -------
    FluxMeasurement

    Raises
    ------
    ValueError
        If an argument is outside its domain or there is no batch.
    """
    gamma = getattr(masked, "pressure", 0.0) if pressure is None else pressure
    gamma = validate.real("pressure", gamma, "[0, inf)")
    sample = validate.integer("sample", sample, "[0, inf)")
    batches = list(batches)
    fluxes = estimate_flux(masked, batches, loss, probes=probes, seed=seed)
    rng = np.random.default_rng(stream_seed(seed, "flux sample"))
    ends = np.cumsum([0, *(w.n_kept for w in masked.weights.values())])
    drawn = np.sort(rng.choice(ends[-1], min(sample, int(ends[-1])), replace=False))
    layers: list[str] = []
    index, exact, estimate, stderr = [], [], [], []
    for which, name in enumerate(masked.weights):
        own = drawn[(drawn >= ends[which]) & (drawn < ends[which + 1])] - ends[which]
        if not own.size:
            continue
        weight = masked.weights[name]
        mask = weight.per_weight(weight.mask).expand(weight.parameter.shape)
        places = torch.nonzero(mask.flatten())[:, 0].cpu().numpy()[own]
        for place in places.tolist():
            layers.append(name)
            index.append(place)
            exact.append(_removed(masked, name, place, batches, loss))
            estimate.append(float(fluxes[name].value.flatten()[place]))
            stderr.append(float(fluxes[name].stderr.flatten()[place]))
    return FluxMeasurement(
        pressure=gamma,
        n_weights=masked.n_weights,
        n_batches=len(batches),
        n_probes=probes,
        layers=tuple(_layer(masked, name, flux, gamma) for name, flux in fluxes.items()),
        sample_layer=tuple(layers),
        sample_index=np.array(index, np.int64),
        sample_exact=np.array(exact, float),
        sample_estimate=np.array(estimate, float),
        sample_stderr=np.array(stderr, float),
    )


def _removed(masked: MaskedModel, name: str, place: int, batches: list[Any], loss: Loss) -> float:
    """Flux of one present weight while it is removed."""
    parameter = masked.weights[name].parameter
    weights = parameter.data.view(-1) if parameter.is_contiguous() else parameter.data.reshape(-1)
    value = float(weights[place])
    at = np.unravel_index(place, tuple(parameter.shape))
    total = 0.0
    try:
        with torch.no_grad():
            parameter.data[at] = 0.0
        with _Evaluation(masked.model):
            for batch in batches:
                result = loss(masked.model, batch)
                (gradient,) = torch.autograd.grad(result, [parameter], materialize_grads=True)
                total += float(gradient[at])
    finally:
        with torch.no_grad():
            parameter.data[at] = value
    return -KAPPA * masked.n_weights * value * total / len(batches)


def _layer(masked: MaskedModel, name: str, flux: Flux, pressure: float) -> LayerFlux:
    weight = masked.weights[name]
    kept = weight.per_weight(weight.mask).expand(weight.parameter.shape)
    value, positive = flux.value, weight.candidates() > 0
    pulled = value > 0
    cases = [positive & pulled, ~positive & pulled, positive & ~pulled, ~positive & ~pulled]
    present, absent = value[kept], value[~kept]
    low, median, high = [float("nan")] * 3
    if present.numel():
        low, median, high = np.quantile(present.cpu().double().numpy(), _QUANTILES)
    return LayerFlux(
        layer=name,
        n_present=present.numel(),
        n_absent=absent.numel(),
        absent_cases=tuple(int((case & ~kept).sum()) for case in cases),
        present_cases=tuple(int((case & kept).sum()) for case in cases),
        absent_above=_share(absent > pressure),
        present_below=_share(present < pressure),
        present_low=float(low),
        present_median=float(median),
        present_high=float(high),
        stderr=float(flux.stderr[kept].pow(2).mean().sqrt()) if present.numel() else float("nan"),
    )


def _share(flags: torch.Tensor) -> float:
    return float(flags.double().mean()) if flags.numel() else float("nan")


def _signs(parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randint(0, 2, parameter.shape, generator=generator, dtype=torch.int8)
    return (2 * drawn - 1).to(parameter.device, parameter.dtype)


def _add(sums: list[torch.Tensor], values: Iterable[torch.Tensor]) -> None:
    for total, value in zip(sums, values, strict=True):
        total.add_(value.detach())


class _Evaluation:
    """Evaluation mode for a while."""

    def __init__(self, model: nn.Module):
        self.model = model

    def __enter__(self) -> None:
        self.modes = {module: module.training for module in self.model.modules()}
        self.model.eval()

    def __exit__(self, *problem: object) -> None:
        for module, mode in self.modes.items():
            module.training = mode
