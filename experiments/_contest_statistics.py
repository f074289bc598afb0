"""What the units of a network do on held-out inputs, layer by layer, before training and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bbtheory import fit_balance
from bbtheory.measure import measure_coding
from bbtheory.records import Record

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bbtheory.train import Pruner, UnitTable

_MOST_LAYERS = 12  # that are measured, evenly spread over a deep network
_N_PERMUTATIONS = 199  # enough for p = 0.005
N_BINS = 20  # of |rho|, equal ones from 0 to 1


@dataclass(frozen=True, eq=False)
class LayerStatistics(Record):
    """One layer; a unit is on where its activation is positive. NaN where there is nothing to measure.

    Parameters
    ----------
    layer : str
    n_units, n_samples : int
        Units and samples recorded; a sample of a sequence or a map is one position of it.
    on_rate : float
        Mean over the units, after training, as n_dead.
    n_dead : int
        Units never on in the samples.
    entropy_before, entropy : float
        Coding entropy, mean over the units, nats.
    correlation_before, correlation : float
        Mean |rho| over pairs of units that change.
    rank_before, rank : float
        Effective rank, directions.
    degree_kind : str
        The degree that the method sets; fan_in where it sets none.
    slope, r_squared : float
        Of the line ln((1-a)/a) over the degree, units on a clip left out; nats per link.
    verdict : str
        Of `fit_balance`.
    pairs_before, pairs : ndarray (20,) of int, optional
        Pairs of units that change, counted by |rho| in equal bins from 0 to 1; None in earlier records.
    """

    KIND: ClassVar[str] = "contest_layer"

    layer: str
    n_units: int
    n_samples: int
    on_rate: float
    n_dead: int
    entropy_before: float
    entropy: float
    correlation_before: float
    correlation: float
    rank_before: float
    rank: float
    degree_kind: str
    slope: float
    r_squared: float
    verdict: str
    pairs_before: np.ndarray | None = None
    pairs: np.ndarray | None = None


class Probe:
    """Records which units are on when a model is run on a task's probe; of masked layers and their inputs."""

    def __init__(self, task: Any, model: nn.Module, config: Any):
        import torch

        from bbtheory.train.layers import choose_layers, find_layers, masked_weights, place_activities
        from bbtheory.train.measurement import unit_table
        from bbtheory.train.tracing import trace_layers

        self.task, self.model, self.config = task, model, config
        self.graph = find_layers(model)
        masked = choose_layers(model, self.graph, task.layers, ())
        trace_layers(model, self.graph)
        place_activities(model, self.graph, task.activations, task.inputs)
        self.weights = masked_weights(self.graph, masked, task.granularity, "zero")
        near = set(masked) | {n for name in masked for n in self.graph[name].inputs}
        seen = [name for name in self.graph if name in near and self.graph[name].site is not None]
        spread = np.linspace(0, len(seen) - 1, min(len(seen), _MOST_LAYERS)).round().astype(int)
        self.layers = [seen[i] for i in spread]
        none = {name: torch.zeros(self.graph[name].n_out) for name in self.layers}
        self.full = unit_table(
            self.graph, self.weights, none, task.granularity
        )  # degrees of the dense network

    @property
    def n_weights(self) -> int:
        """Weights of the masked layers."""
        return sum(weight.parameter.numel() for weight in self.weights.values())

    def samples(self) -> dict[str, np.ndarray]:
        """Return which units were on, (n_samples, n_units) bool of each layer; alike for equal seeds."""
        import torch

        recorders = {}
        each = math.ceil(self.config.most_samples / max(1, len(self.task.probe)))
        for i, name in enumerate(self.layers):
            layer = self.graph[name]
            recorders[name] = _Recorder(each, layer.n_out, layer.unit_dim, (self.config.seeds[0], i))
        taps = [recorder.attach(self.graph[name].site) for name, recorder in recorders.items()]
        was_training = {module: module.training for module in self.model.modules()}
        device = next(self.model.parameters()).device
        try:
            self.model.eval()
            with torch.no_grad():
                for x in self.task.probe:
                    if self.task.call is not None:
                        self.task.call(self.model, x)
                    else:
                        self.model(*(part.to(device) for part in (x if isinstance(x, tuple) else (x,))))
        finally:
            for tap in taps:
                tap.remove()
            for module, mode in was_training.items():
                module.training = mode
        most = self.config.most_samples
        return {name: recorder.rows(most) for name, recorder in recorders.items() if recorder.kept}

    def statistics(
        self, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], pruner: Pruner | None
    ) -> tuple[LayerStatistics, ...]:
        """Return the statistics of each layer from the samples before and after."""
        import torch

        from bbtheory.train.measurement import unit_table

        weights = self.weights if pruner is None else pruner.weights
        rates = {name: torch.from_numpy(rows.mean(0)) for name, rows in after.items()}
        units = unit_table(self.graph, weights, rates, self.task.granularity)
        kind = "fan_out" if getattr(pruner, "degree_kind", "") == "fan_out" else "fan_in"
        found = []
        for name in after:
            samples = [self._thinned(rows[name]) for rows in (before, after)]
            was, now = (measure_coding(rows, n_shuffles=1) for rows in samples)
            pairs_before, pairs = (count_pairs(rows) for rows in samples)
            slope, r_squared, verdict = self._balance(name, units, kind)
            found.append(
                LayerStatistics(
                    layer=name,
                    n_units=after[name].shape[1],
                    n_samples=now.n_samples,
                    on_rate=float(after[name].mean()),
                    n_dead=int((~after[name].any(0)).sum()),
                    entropy_before=was.coding_entropy / was.n_units,
                    entropy=now.coding_entropy / now.n_units,
                    correlation_before=was.mean_abs_correlation,
                    correlation=now.mean_abs_correlation,
                    rank_before=was.effective_rank,
                    rank=now.effective_rank,
                    degree_kind=kind,
                    slope=slope,
                    r_squared=r_squared,
                    verdict=verdict,
                    pairs_before=pairs_before,
                    pairs=pairs,
                )
            )
        return tuple(found)

    def _thinned(self, rows: np.ndarray) -> np.ndarray:
        """Return the samples of at most as many units as the settings say, evenly spread."""
        n = rows.shape[1]
        return rows[:, np.linspace(0, n - 1, min(n, self.config.most_units)).round().astype(int)]

    def _balance(self, name: str, units: UnitTable, kind: str) -> tuple[float, float, str]:
        own = np.array([layer == name for layer in units.layer])
        most = getattr(self.full, kind)[[layer == name for layer in self.full.layer]].max(initial=1)
        fit = fit_balance(
            units.on_rate[own],
            getattr(units, kind)[own],
            min_degree=0.0,
            max_degree=float(most),
            degree_kind=kind,
            n_permutations=_N_PERMUTATIONS,
        ).groups[0]
        return fit.slope, fit.r_squared, fit.verdict


def count_pairs(rows: np.ndarray) -> np.ndarray:
    """Count pairs of units by |rho| in equal bins, (20,) of int; units that never change are left out."""
    on_rate = rows.mean(axis=0)
    changing = rows[:, (on_rate > 0) & (on_rate < 1)].astype(float)
    n = changing.shape[1]
    if n < 2:
        return np.zeros(N_BINS, int)
    rho = np.abs(np.corrcoef(changing, rowvar=False)[np.triu_indices(n, 1)])
    return np.histogram(np.minimum(rho, 1.0), N_BINS, (0.0, 1.0))[0]  # rounding may leave some above 1


class _Recorder:
    """Keeps some positions of each forward pass, drawn alike in every recording of a seed."""

    def __init__(self, each: int, n_units: int, unit_dim: int, seed: tuple[int, int]):
        self.each, self.n_units, self.unit_dim = each, n_units, unit_dim
        self.rng = np.random.default_rng(seed)
        self.kept: list[np.ndarray] = []

    def attach(self, site: Any) -> Any:
        """Listen where the layer's activity is seen; return the handle of the hook."""
        from bbtheory.train.activity import Tap

        if site.side == "input":
            return site.module.register_forward_pre_hook(Tap(self))
        return site.module.register_forward_hook(Tap(self))

    def observe(self, module: nn.Module, h: torch.Tensor) -> None:
        import torch

        rows = h.detach().movedim(self.unit_dim, -1).reshape(-1, self.n_units)
        n = min(self.each, len(rows))
        chosen = np.sort(self.rng.permutation(len(rows))[:n])
        self.kept.append((rows[torch.from_numpy(chosen).to(rows.device)] > 0).cpu().numpy())

    def rows(self, most: int) -> np.ndarray:
        """Return all that was kept, thinned evenly to the most that is wanted."""
        all_rows = np.concatenate(self.kept)
        return all_rows[np.linspace(0, len(all_rows) - 1, min(len(all_rows), most)).round().astype(int)]
