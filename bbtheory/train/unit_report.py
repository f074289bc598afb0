"""What a pruned model is: per layer what is kept and what it costs, per unit on-rate, degrees and traffic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from bbtheory.records import Record
from bbtheory.tables import format_table
from bbtheory.theory.entropy import inactivity_log_odds
from bbtheory.train.layers import CONVOLUTIONS
from bbtheory.train.masking import MaskedWeight
from bbtheory.train.measurement import COLUMNS, UnitTable, unit_table

if TYPE_CHECKING:
    from bbtheory.train.pruner import Pruner

NOTE = (
    "A mask saves neither time nor memory by itself: dense hardware reads and multiplies every weight, and\n"
    "the mask and dormant values come on top. As sparse: what the kept weights would take in a file of\n"
    "compressed rows; fewer multiply-adds are real only with kernels that skip them."
)
_INDEX_BYTES = 4  # of a column index and of a row pointer in a compressed-row file


@dataclass(frozen=True, eq=False)
class LayerReport(Record):
    """One pruned layer. Multiply-adds are per output position; a convolution or a sequence has many."""

    KIND: ClassVar[str] = "layer_report"
    DERIVED: ClassVar[tuple[str, ...]] = ("sample_multiply_adds", "kept_sample_multiply_adds")

    layer: str
    n_weights: int
    n_kept: int
    density: float
    weight_bytes: int
    mask_bytes: int
    dormant_bytes: int
    sparse_bytes: int
    multiply_adds: int
    kept_multiply_adds: int
    positions: float  # output positions per sample, NaN without an example input
    on_rate: float  # mean over its units, NaN without one
    traffic: float  # sum a_i k_i, k_i the fan-out; links per step, NaN without on-rates
    balance_slope: (
        float  # of ln((1-a)/a) over the controlled degree, units on a bound left out; nats per link
    )
    balance_r_squared: float

    @property
    def sample_multiply_adds(self) -> float:
        """Multiply-adds per sample, dense."""
        return self.multiply_adds * self.positions

    @property
    def kept_sample_multiply_adds(self) -> float:
        """Multiply-adds per sample with kept weights; on dense hardware none is saved."""
        return self.kept_multiply_adds * self.positions


@dataclass(frozen=True, eq=False)
class PruningReport(Record):
    """Layers, units and whole numbers of a pruned model; ``note`` says what a mask does not save."""

    KIND: ClassVar[str] = "pruning_report"
    UNITS: ClassVar[Mapping[str, str]] = {name: name for name in COLUMNS}
    HIDDEN: ClassVar[tuple[str, ...]] = ("units",)
    DERIVED: ClassVar[tuple[str, ...]] = ("density",)

    pruner: str
    degree_kind: str
    step: int
    target_density: float
    n_weights: int
    n_kept: int
    n_parameters: int
    network_density: float  # of all parameters of the model, biases and unpruned layers included
    beta: float  # the slope that was set; NaN where none is
    layers: tuple[LayerReport, ...]
    units: UnitTable
    note: str

    @property
    def density(self) -> float:
        """Kept / prunable weights of the pruned layers."""
        return self.n_kept / self.n_weights

    @property
    def layer(self) -> tuple[str, ...]:
        """Layer of each unit."""
        return self.units.layer

    @property
    def unit(self) -> np.ndarray:
        """Index of each unit in its layer."""
        return self.units.unit

    @property
    def on_rate(self) -> np.ndarray:
        """On-rate of each unit."""
        return self.units.on_rate

    @property
    def fan_in(self) -> np.ndarray:
        """Kept links into each unit."""
        return self.units.fan_in

    @property
    def fan_out(self) -> np.ndarray:
        """Kept links out of each unit."""
        return self.units.fan_out

    @property
    def traffic(self) -> np.ndarray:
        """Traffic of each unit, links per step."""
        return self.units.traffic

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write layer,unit,on_rate,fan_in,fan_out,traffic, which `fit balance` and `solve --on-rate` read."""
        self.units.to_csv(path)

    def table(self) -> str:
        """Return the layers as text."""
        columns = {
            "layer": "layer",
            "kept": "n_kept",
            "of": "n_weights",
            "density": "density",
            "on-rate": "on_rate",
            "traffic": "traffic",
            "slope": "balance_slope",
            "R2": "balance_r_squared",
            "bytes": "weight_bytes",
            "+ mask": "mask_bytes",
            "+ dormant": "dormant_bytes",
            "as sparse": "sparse_bytes",
            "mult-adds": "multiply_adds",
            "kept m-a": "kept_multiply_adds",
            "positions": "positions",
        }
        rows = [[getattr(layer, name) for name in columns.values()] for layer in self.layers]
        return format_table(list(columns), rows)

    def __str__(self) -> str:
        """Return the table with its totals and the note."""
        head = (
            f"{self.pruner} at step {self.step}: density {self.density:.6g} "
            f"(target {self.target_density:.6g}), "
            f"{self.network_density:.6g} of all {self.n_parameters:,} parameters; degree: {self.degree_kind}"
        )
        return "\n".join([head, "", self.table(), "", self.note])


def report_of(pruner: Pruner, example_input: Any = None) -> PruningReport:
    """Return the report of a pruner's model as it is now, with positions where an example input is given."""
    granularity = "channel" if any(w.by_channel for w in pruner.weights.values()) else "weight"
    units = unit_table(pruner.graph, pruner.weights, pruner.on_rates(), granularity)
    kind = getattr(pruner, "degree_kind", "fan_out")
    positions = {} if example_input is None else _positions(pruner, example_input)
    layers = tuple(
        _layer(name, weight, units, kind, positions.get(name, float("nan")))
        for name, weight in pruner.weights.items()
    )
    n_parameters = sum(p.numel() for p in pruner.model.parameters())
    n_kept = sum(layer.n_kept for layer in layers)
    beta = getattr(pruner, "beta", None)
    return PruningReport(
        pruner=type(pruner).__name__,
        degree_kind=kind,
        step=pruner.step_count,
        target_density=pruner.density,
        n_weights=pruner.n_weights,
        n_kept=n_kept,
        n_parameters=n_parameters,
        network_density=(n_parameters - pruner.n_weights + n_kept) / n_parameters,
        beta=float("nan") if beta is None else beta,
        layers=layers,
        units=units,
        note=NOTE,
    )


def _positions(pruner: Pruner, example_input: Any) -> dict[str, float]:
    """Output positions per sample of each layer in one call; what is called as a function is not seen."""
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    samples = next((a.shape[0] for a in arguments if torch.is_tensor(a) and a.dim() and a.shape[0]), None)
    if samples is None:
        raise ValueError("example_input must hold a tensor with samples on its first axis, got none")
    found: dict[str, float] = {}
    handles = []
    was_training = {module: module.training for module in pruner.model.modules()}

    def count(name: str, n_out: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = found.get(name, 0.0) + output.numel() / n_out / samples

        return hook

    try:
        for name, weight in pruner.weights.items():
            for module, parameter in weight.owners:
                if parameter == "weight" and isinstance(module, (nn.Linear, *CONVOLUTIONS)):
                    handles.append(module.register_forward_hook(count(name, weight.n_out)))
        pruner.model.eval()
        with torch.no_grad():
            pruner.model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in was_training.items():
            module.training = mode
    return found


def _layer(name: str, weight: MaskedWeight, units: UnitTable, kind: str, positions: float) -> LayerReport:
    parameter = weight.parameter
    n_weights, n_kept = parameter.numel(), weight.n_kept
    own = np.array([layer == name for layer in units.layer], dtype=bool)
    seen = bool(own.any())
    degree = units.fan_out if kind == "fan_out" else units.fan_in
    # units on a bound of their degree say nothing of the slope
    free = own & (degree > 0) & ((degree < weight.fan_in_limit) if kind != "fan_out" else True)
    slope, r_squared = _balance(units.on_rate[free], degree[free])
    return LayerReport(
        layer=name,
        n_weights=n_weights,
        n_kept=n_kept,
        density=n_kept / n_weights,
        weight_bytes=n_weights * parameter.element_size(),
        mask_bytes=weight.mask.numel(),
        dormant_bytes=0 if weight.dormant is None else n_weights * parameter.element_size(),
        sparse_bytes=n_kept * (parameter.element_size() + _INDEX_BYTES) + (weight.n_out + 1) * _INDEX_BYTES,
        multiply_adds=n_weights,
        kept_multiply_adds=n_kept,
        positions=positions,
        on_rate=float(units.on_rate[own].mean()) if seen else float("nan"),
        traffic=float(units.traffic[own].sum()) if seen else float("nan"),
        balance_slope=slope,
        balance_r_squared=r_squared,
    )


def _balance(on_rate: np.ndarray, degree: np.ndarray) -> tuple[float, float]:
    """Least squares of ln((1-a)/a) on the degree; NaN where three units or two degrees are lacking."""
    used = (on_rate > 0) & (on_rate < 1)
    if used.sum() < 3 or np.ptp(degree[used]) == 0:
        return float("nan"), float("nan")
    odds, k = inactivity_log_odds(on_rate[used]), degree[used].astype(float)
    k -= k.mean()
    odds -= odds.mean()
    slope = float(k @ odds / (k @ k))
    total = float(odds @ odds)
    return slope, float(slope * (k @ odds) / total) if total > 0 else float("nan")
