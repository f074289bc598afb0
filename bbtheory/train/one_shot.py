"""One-shot pruning of a trained model on calibration data, layer after layer, without training it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bbtheory import validate
from bbtheory.train import rule
from bbtheory.train.activity import Activity
from bbtheory.train.allocation import even_degrees, solve_knob, whole_degrees
from bbtheory.train.layers import Layer, choose_layers, find_layers, place_activities
from bbtheory.train.projection import project_to_groups
from bbtheory.train.second_order import sparse_gpt
from bbtheory.train.seeding import stream_seed
from bbtheory.train.selection import keep_largest
from bbtheory.train.tracing import trace_layers

METHODS = ("random", "magnitude", "wanda", "sparse_gpt", "bb", "bb_wanda")


def prune_one_shot(
    model: nn.Module,
    layers: Sequence[str],
    calibration: Sequence[Any],
    *,
    method: str,
    density: float,
    groups: tuple[int, int] | None = None,
    call: Callable[[nn.Module, Any], Any] | None = None,
    activations: Mapping[str, str | nn.Module] | None = None,
    beta: float | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Cut links of Linear layers of a trained model, in place, each layer to the density within one link.

    Layers are pruned in the order in which they run, those that read the same input together, and what a
    layer reads is measured after all before it are cut.

        random      links at random, layer by layer
        magnitude   the largest |w|, layer by layer
        wanda       the largest |w_ij| rms(x_j), row by row, rows alike
        sparse_gpt  see `sparse_gpt`: what is kept changes too
        bb          the largest |w|, row by row, as many as the unit's on-rate says:
                    k_i = clip(d0 + L(a_i)/beta, 0, D), L(a) = ln((1-a)/a); rows without an on-rate alike
        bb_wanda    those degrees, links by the score of wanda

    With groups of n:m every row keeps n links of every m neighbours at most; rows keep equally many but for
    bb, where D is n/m of the columns. At a density of n/m no room is left for degrees: bb is magnitude then.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode without gradients, and left in the mode it was in.
    layers : sequence of str
        Names of Linear modules.
    calibration : sequence of batches
        What the model is called with, moved to the device of its first parameter.
    method : {"random", "magnitude", "wanda", "sparse_gpt", "bb", "bb_wanda"}
    density : float
        Kept / all weights, in (0, 1].
    groups : (n, m), optional
    call : callable (model, batch), optional
        How to call the model instead.
    activations : see `Pruner`
    beta : float, optional
        Slope > 0, nats per link; by default one standard deviation of the log-odds moves a degree by half
        the mean.
    seed : int
        Of random links, >= 0.

    Returns
    -------
    dict of layer name to bool Tensor
        True = kept.

    Raises
    ------
    ValueError
        If an argument is outside its domain, a layer is unknown or no Linear, groups leave no room for the
        density, calibration is empty or never reaches a layer, or a bb method finds no layer with on-rates.

    References
    ----------
    Wanda: Sun et al. 2024 (arXiv 2306.11695); SparseGPT: Frantar and Alistarh 2023 (arXiv 2301.00774); the
    degrees: Budgeted Broadcast (arXiv 2510.01263). That bb meets the density with one d0 a layer is this
    project's.
    """
    validate.instance("model", model, nn.Module)
    validate.choice("method", method, METHODS)
    density = validate.real("density", density, "(0, 1]")
    beta = None if beta is None else validate.real("beta", beta, "(0, inf)")
    generator = torch.Generator().manual_seed(stream_seed(seed, "one shot"))
    graph = find_layers(model)
    names = choose_layers(model, graph, layers, ())
    modules: dict[str, nn.Linear] = {}
    for name in names:
        module = graph[name].owners[0][0]
        if not isinstance(module, nn.Linear):
            raise ValueError(f"layers must name Linear modules, got {name!r} of {type(module).__name__}")
        _check_groups(groups, module.in_features, density)
        modules[name] = module
    trace_layers(model, graph)
    place_activities(model, graph, activations, None)
    if method.startswith("bb") and all(graph[name].site is None for name in names):
        raise ValueError(f"activations must name one for a layer that is cut: {method} found no on-rates")
    if len(calibration) == 0:
        raise ValueError("calibration must hold at least one batch, got none")
    masks: dict[str, Tensor] = {}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            run = _Runner(model, call)
            for stage in _stages(run, modules, calibration[0]):
                inputs, rates = _measure(run, stage, modules, graph, calibration, method)
                for name in stage:
                    weight = modules[name].weight
                    if method == "sparse_gpt":
                        kept = sparse_gpt(weight, inputs[stage[0]].gram, density, groups=groups)
                        weight.copy_(kept[0])
                        masks[name] = kept[1]
                        continue
                    score = weight.abs()
                    if method == "random":
                        score = torch.rand(weight.shape, generator=generator).to(weight.device)
                    elif method.endswith("wanda"):
                        score = score.float() * inputs[stage[0]].size
                    degrees = _degrees(weight, rates.get(name), density, beta, groups)
                    masks[name] = _best(score, degrees, density, method, groups)
                    weight.mul_(masks[name])
    finally:
        for module, mode in modes.items():
            module.training = mode
    return masks


def _check_groups(groups: tuple[int, int] | None, n_in: int, density: float) -> None:
    if groups is not None:
        if len(groups) != 2:
            raise ValueError(f"groups must be (n, m), got {groups}")
        m = validate.integer("groups", groups[1], "[1, inf)")
        n = validate.integer("groups", groups[0], f"[1, {m}]")
        if n_in % m or density > n / m:
            raise ValueError(
                f"groups must be n:m with m a divisor of {n_in} and n/m at least the density {density:g}, "
                f"got {n}:{m}"
            )


class _Runner:
    """Calls a model on a batch."""

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Any], Any] | None):
        self.model, self.call = model, call
        self.device = next(model.parameters()).device

    def __call__(self, batch: Any) -> None:
        if self.call is not None:
            self.call(self.model, batch)
        else:
            x = batch[0] if isinstance(batch, (tuple, list)) else batch
            self.model(x.to(self.device))


class _Inputs:
    """Sum of x x^T over all samples and positions, or of its diagonal alone."""

    def __init__(self, whole: bool):
        self.whole = whole
        self.total: Tensor | None = None
        self.n = 0

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).float()
        found = x.T @ x if self.whole else x.square().sum(0)
        self.total = found if self.total is None else self.total.add_(found)
        self.n += len(x)

    @property
    def gram(self) -> Tensor:
        """Mean of x x^T."""
        assert self.total is not None
        return self.total / self.n

    @property
    def size(self) -> Tensor:
        """Root mean square of each input."""
        assert self.total is not None
        return (self.total / self.n).sqrt()


def _stages(run: _Runner, modules: Mapping[str, nn.Linear], batch: Any) -> list[list[str]]:
    """Return the layers as they run, those together that follow each other and read the same tensor."""
    stages: list[list[str]] = []
    last: list[Tensor] = []  # the one before, held so that no other takes its memory
    seen: set[str] = set()

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def read(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if name not in seen:
                seen.add(name)
                if not (last and last[0] is inputs[0]):
                    stages.append([])
                stages[-1].append(name)
                last[:] = [inputs[0]]

        return read

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    try:
        run(batch)
    finally:
        for handle in handles:
            handle.remove()
    lacking = [name for name in modules if name not in seen]
    if lacking:
        raise ValueError(f"calibration must reach every layer, got none for {lacking[0]!r}")
    return stages


def _measure(
    run: _Runner,
    stage: Sequence[str],
    modules: Mapping[str, nn.Linear],
    graph: Mapping[str, Layer],
    calibration: Sequence[Any],
    method: str,
) -> tuple[dict[str, _Inputs], dict[str, Tensor]]:
    """Return what the layers of a stage read, and the on-rates of their units, as far as a method asks."""
    inputs: dict[str, _Inputs] = {}
    handles = []
    activities: dict[str, Activity] = {}
    if method == "sparse_gpt" or method.endswith("wanda"):
        inputs[stage[0]] = _Inputs(whole=method == "sparse_gpt")
        handles.append(modules[stage[0]].register_forward_pre_hook(inputs[stage[0]]))
    if method.startswith("bb"):
        for name in stage:
            site = graph[name].site
            if site is not None:
                device = graph[name].parameter.device
                activities[name] = Activity(
                    site, graph[name].n_out, graph[name].unit_dim, training_only=False, device=device
                )
                activities[name].attach()
    try:
        for batch in calibration if inputs or activities else ():
            run(batch)
    finally:
        for handle in handles:
            handle.remove()
        for activity in activities.values():
            activity.detach()
    rates = {n: rule.resolved(a.total.double().cpu(), a.count.double().cpu()) for n, a in activities.items()}
    return inputs, rates


def _degrees(
    weight: Tensor,
    on_rate: Tensor | None,
    density: float,
    beta: float | None,
    groups: tuple[int, int] | None,
) -> Tensor:
    """Return the links of each row; together they meet the density."""
    n_out, n_in = weight.shape
    most = n_in if groups is None else n_in * groups[0] // groups[1]
    wanted = round(density * n_out * n_in)
    if on_rate is None:
        return even_degrees(n_out, most, wanted)
    slope = rule.first_beta("balance", on_rate, density * n_in) if beta is None else beta
    offset, unit = rule.line_of("balance", on_rate, slope)
    low, high = torch.zeros_like(unit), torch.full_like(unit, float(most))
    one = torch.ones_like(unit)
    d0 = solve_knob(offset, unit, low, high, one, float(wanted))
    real = torch.minimum(torch.maximum(offset + d0, low), high)
    return whole_degrees(real, high, one, wanted)


def _best(
    score: Tensor, degrees: Tensor, density: float, method: str, groups: tuple[int, int] | None
) -> Tensor:
    """Keep the links of the largest score."""
    if groups is not None:
        return project_to_groups(score, degrees, n=groups[0], m=groups[1])
    if method in ("random", "magnitude"):
        return keep_largest(score.reshape(1, -1), int(degrees.sum())).reshape(score.shape)
    return keep_largest(score, degrees)
