"""How each method of a contest is made: its optimizer, its pruner and when that changes masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from experiments._contest_settings import ABLATIONS, GRADUAL

if TYPE_CHECKING:
    from torch import nn

    from bbtheory.train import Pruner

_SILENT_BELOW = 0.01  # on-rate; of bb_in_awake
_MEASURED_STEPS = 4  # before a refresh that listens to gradients or inputs


def make_optimizer(task: Any, model: nn.Module, config: Any, n_steps: int) -> tuple[Any, Any]:
    import torch

    rate = config.learning_rate * config.knob("learning_rate_factor")
    if task.optimizer is not None:
        optimizer = task.optimizer(model.parameters(), rate)
    else:
        decay = config.weight_decay
        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
    rise = round(config.learning_rate_warmup * n_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(n_steps - rise, 1)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def make_pruner(task: Any, model: nn.Module, config: Any, n_steps: int) -> Pruner | None:
    from bbtheory import train as methods

    method, density = config.methods[0], config.densities[0]
    if method == "dense":
        return None
    warmup = max(1, round(config.warmup * n_steps))
    last = config.knob("reached") if method in GRADUAL else config.last_change
    until = max(warmup + 1, round(last * n_steps))
    interval = max(1, (until - warmup) // max(1, config.n_refreshes - 1))
    common: dict[str, Any] = {
        "layers": task.layers,
        "granularity": task.granularity,
        "activations": task.activations,
        "inputs": task.inputs,
        "seed": config.seeds[0],
    }
    if method == "topk_activation":
        return methods.TopKActivation(model, density, warmup=warmup, **common)
    if method == "random":
        pruner = methods.Random(model, density, allocation="layer", **common)
        pruner.refresh()  # sparse from the start
        return pruner
    if method in ("set", "rigl"):
        kind = methods.SET if method == "set" else methods.RigL
        common |= {"allocation": "layer", "fraction": config.knob("fraction"), "until": until}
        return kind(model, density, interval=max(1, until // config.n_refreshes), **common)
    common |= {"warmup": warmup, "interval": interval, "until": until}
    if method in GRADUAL:
        common |= {"schedule": "gradual", "dormant": "stored", "rounds": max(1, (until - warmup) // interval)}
        if method == "magnitude":
            return methods.Magnitude(model, density, allocation="layer", **common)
        kind = {"wanda": methods.Wanda, "taylor": methods.Taylor, "gradient": methods.Gradient}[method]
        batches = min(_MEASURED_STEPS, interval)
        where = "row" if method == "wanda" else "layer"
        return kind(model, density, allocation=where, batches=batches, **common)
    pruner = methods.BudgetedBroadcast(
        model,
        density,
        sp_in=method != "bb_out",
        sp_out=method in ("bb_out", "bb_both"),
        rule=ABLATIONS.get(method, "balance"),
        beta=1.0,
        silent_below=_SILENT_BELOW if method == "bb_in_awake" else 0.0,
        allocation="layer",
        ema_decay=config.ema_decay,
        **common,
    )
    pruner.beta = config.knob("nats") / (density * _mean_limit(pruner))
    return pruner


def _mean_limit(pruner: Any) -> float:
    """Links of a controlled unit, were all kept; mean over units."""
    limits: list[tuple[int, int]] = []
    for name, weight in pruner.weights.items():
        if "fan_in" in pruner.kinds and name in pruner.activities:
            limits.append((weight.n_out, weight.fan_in_limit))
        if "fan_out" in pruner.kinds and any(n in pruner.activities for n in pruner.graph[name].inputs):
            limits.append((weight.n_in, weight.fan_out_limit))
    if not limits:  # the uniform rule needs no on-rates
        return 1.0
    return sum(n * limit for n, limit in limits) / sum(n for n, _ in limits)


def worst_gap(pruner: Pruner | None, config: Any) -> float:
    if pruner is None or config.methods[0] == "topk_activation":
        return math.nan
    density = config.densities[0]
    return max(abs(w.n_kept / w.link_size - density * w.mask.numel()) for w in pruner.weights.values())
