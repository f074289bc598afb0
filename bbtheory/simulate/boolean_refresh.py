"""One refresh of a network in training: the links each method keeps, and the rescale of what is left."""

from __future__ import annotations

import numpy as np

from bbtheory.simulate import pruning_kernel as kernel
from bbtheory.simulate.boolean_network import Network
from bbtheory.simulate.boolean_settings import Pruning
from bbtheory.theory.entropy import inactivity_log_odds


def refresh(
    network: Network, pruning: Pruning, on_rates: tuple[np.ndarray, ...], n_done: int, noise: list[np.ndarray]
) -> None:
    """Set the network's masks anew.

    ``on_rates`` are the estimates of each hidden layer, ``n_done`` the refreshes before this one, ``noise``
    the random scores of each prunable matrix.
    """
    before = network.kept
    if pruning.method in ("magnitude", "random"):
        kept = _ranked(network, pruning, n_done, noise, before)
    elif pruning.method == "threshold":
        kept = [_local_rule(network, pruning, layer, on_rates, before[layer]) for layer in pruning.layers]
    else:
        kept = [_controlled(network, pruning, layer, on_rates, before[layer]) for layer in pruning.layers]
    for layer, mask in zip(pruning.layers, kept, strict=True):
        network.set_kept(layer, mask)
        _rescale(network, pruning.rescale, layer, before[layer].sum(axis=1), mask.sum(axis=1))


def whole_counts(wanted: np.ndarray, total: int) -> np.ndarray:
    """Round down, then give what is left of the total to the largest remainders, ties to lower indices."""
    counts = np.floor(wanted).astype(np.int64)
    order = np.argsort(counts - wanted, kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts


def _ranked(
    network: Network,
    pruning: Pruning,
    n_done: int,
    noise: list[np.ndarray],
    before: tuple[np.ndarray, ...],
) -> list[np.ndarray]:
    """Keep the density of the schedule, by |w| or random scores."""
    densities = pruning.densities()
    density = densities[min(n_done, len(densities) - 1)]
    if pruning.method == "random":
        scores = noise
    else:
        scores = [np.abs(network.full(layer)) for layer in pruning.layers]
    # random scores stay, so what they cut stays cut
    open_to_all = pruning.regrow or pruning.method == "random"
    candidates = [np.ones_like(before[layer]) if open_to_all else before[layer] for layer in pruning.layers]
    total = round(density * sum(score.size for score in scores))
    if pruning.scope == "global":
        together = np.concatenate([score.ravel() for score in scores])[None]
        allowed = np.concatenate([candidate.ravel() for candidate in candidates])[None]
        flat = kernel.keep_strongest(together, allowed, np.array([total]))[0]
        ends = np.cumsum([score.size for score in scores])[:-1]
        return [part.reshape(s.shape) for part, s in zip(np.split(flat, ends), scores, strict=True)]
    wanted = np.concatenate([np.full(s.shape[0], density * s.shape[1]) for s in scores])
    counts = np.split(whole_counts(wanted, total), np.cumsum([s.shape[0] for s in scores])[:-1])
    return [kernel.keep_strongest(s, c, k) for s, c, k in zip(scores, candidates, counts, strict=True)]


def _local_rule(
    network: Network, pruning: Pruning, layer: int, on_rates: tuple[np.ndarray, ...], before: np.ndarray
) -> np.ndarray:
    """Cut the weakest links of units with a k > tau."""
    score = np.abs(network.full(layer))
    kept = before.copy()
    limits = pruning.tau, pruning.min_degree
    if pruning.actuator in ("sp_out", "both"):
        columns, mask = np.ascontiguousarray(score.T), np.ascontiguousarray(kept.T)
        cap = _cap(pruning, score.shape[0])
        kernel.cut_weakest(columns, mask, on_rates[layer - 1], *limits, cap, pruning.cuts, pruning.regrow)
        kept = np.ascontiguousarray(mask.T)
    if pruning.actuator in ("sp_in", "both"):
        cap = _cap(pruning, score.shape[1])
        kernel.cut_weakest(score, kept, on_rates[layer], *limits, cap, pruning.cuts, pruning.regrow)
    return kept


def _controlled(
    network: Network, pruning: Pruning, layer: int, on_rates: tuple[np.ndarray, ...], before: np.ndarray
) -> np.ndarray:
    """Keep the strongest clip(d0 + L(a)/beta, m, D) links of each unit; both actuators: the intersection."""
    score = np.abs(network.full(layer))
    candidate = np.ones_like(before) if pruning.regrow else before
    kept = np.ones_like(before)
    if pruning.actuator in ("sp_out", "both"):
        degree = _degrees(pruning, on_rates[layer - 1], score.shape[0])
        columns, allowed = np.ascontiguousarray(score.T), np.ascontiguousarray(candidate.T)
        kept &= kernel.keep_strongest(columns, allowed, degree).T
    if pruning.actuator in ("sp_in", "both"):
        degree = _degrees(pruning, on_rates[layer], score.shape[1])
        kept &= kernel.keep_strongest(score, candidate, degree)
    return kept


def _cap(pruning: Pruning, n_links: int) -> int:
    return n_links if pruning.max_degree is None else min(pruning.max_degree, n_links)


def _degrees(pruning: Pruning, on_rate: np.ndarray, n_links: int) -> np.ndarray:
    assert pruning.beta is not None
    assert pruning.d0 is not None
    cap = _cap(pruning, n_links)
    with np.errstate(over="ignore"):  # an infinite degree is clipped
        line = pruning.d0 + inactivity_log_odds(on_rate) / pruning.beta
    return np.rint(np.clip(line, min(pruning.min_degree, cap), cap)).astype(np.int64)


def _rescale(network: Network, how: str, layer: int, before: np.ndarray, after: np.ndarray) -> None:
    """Restore the input variance of hidden units whose kept fan-in changed; the output is left alone."""
    if how == "none" or layer == len(network.weights) - 1:
        return
    full = network.weights[layer].shape[1]
    alive = after > 0  # a unit without inputs has no variance to restore
    if how == "forward":
        network.scales[layer][:] = np.sqrt(np.where(alive, full / np.maximum(after, 1), 1.0))
        return
    start = full if how == "weight" else before
    changed = alive & (before != after) & (before > 0)
    network.multiply_rows(layer, np.sqrt(np.where(changed, start / np.maximum(after, 1), 1.0)))
