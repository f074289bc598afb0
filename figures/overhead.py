"""What masks, on-rates and refreshes cost

Time of a training step beside the dense step and beside weights times mask in every forward pass, time of a
refresh as a share of the steps between two, and bytes held beside model and optimizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from figures._drawing import LOOKS, Drawing, log_scale, points

if TYPE_CHECKING:
    from experiments.bench_training_overhead import Result

SOURCES = ("bench_training_overhead",)
PAPER = (
    "Budgeted Broadcast (arXiv 2510.01263): no timings stated; a pruning mask alone makes no network faster"
)

_BYTES = (
    ("mask_bytes_per_weight", "masks", LOOKS[0], 0.3),
    ("dormant_bytes_per_weight", "dormant values", LOOKS[3], 0.0),
    ("other_bytes_per_unit", "on-rates (per unit)", LOOKS[2], -0.3),
)


def draw(figure: Drawing, result: Result) -> str:
    """Draw times of steps and of refreshes, and memory."""
    figure.set_size_inches(11.0, 3.8)
    step, refresh, memory = figure.subplots(1, 3, width_ratios=(1.2, 1.2, 1), sharey=True)
    cases = [row.case for row in result.memory]
    rows = np.arange(len(cases))[::-1]
    names = [case.replace(", ", ",\n").replace(" on ", "\non ") for case in cases]
    counts: dict[str, list[int]] = {}
    for axes, kinds in (
        (
            step,
            (
                ("step", "dense step", "ours / dense step", LOOKS[0]),
                ("step", "weights times mask in forward, EMA", "ours / weights x mask in forward", LOOKS[1]),
            ),
        ),
        (
            refresh,
            (
                ("refresh", "", "one actuator", LOOKS[0]),
                ("refresh of both actuators", "", "both actuators", LOOKS[1]),
            ),
        ),
    ):
        for (what, peer, name, look), shift in zip(kinds, (0.12, -0.12), strict=True):
            found = [
                next(r for r in result.rows if r.case == f"{case}, {what}" and r.peer.startswith(peer))
                for case in cases
            ]
            # a ratio states the peer's time over ours
            value, low, high = (
                1.0 / np.array([getattr(r, end) for r in found]) for end in ("ratio", "high", "low")
            )
            points(axes, name, value, rows + shift, look, x_interval=(low, high), label=cases)
            counts.setdefault(what.split()[0], []).extend(r.n for r in found)
    spans = {what: sorted({min(each), max(each)}) for what, each in counts.items()}
    n = {what: f"n = {' to '.join(str(end) for end in ends)} pairs" for what, ends in spans.items()}
    interval = next(row.peer for row in result.rows if row.peer.endswith("dense steps")).split()[0]
    step.axvline(1.0, ymax=0.8, color="0.6", lw=0.8, zorder=0)
    step.set_yticks(rows, names, fontsize=7.5)
    step.set(
        ylim=(-0.6, len(cases) + 0.1),
        xlabel=f"time of a step / the peer's (ratio)\n{n['step']}",
        ylabel="network",
    )
    step.set_title("A training step")
    log_scale(refresh, "x", 10.0 ** np.arange(-4, 3))
    refresh.set(xlabel=f"time of a refresh / {interval} dense steps (ratio)\n{n['refresh']}")
    refresh.axvline(0.01, ymax=0.8, color="0.6", lw=0.8, zorder=0)
    refresh.set_title(f"A refresh every {interval} steps")
    for field, name, look, shift in _BYTES:
        value = [getattr(row, field) for row in result.memory]
        points(memory, name, value, rows + 0.5 * shift, look, label=cases)
    memory.set(xlim=(0, None), xlabel=f"bytes per weight or unit\nn = {len(cases)} networks")
    memory.set_title("Memory beside the model")
    for axes in (step, refresh, memory):
        axes.legend(loc="upper right")
    return (
        "Our training step, timed in turn with its peers on one thread: medians of the ratios of "
        f"{n['step']}, bars from the smallest to the largest. Grey lines: equal times, and a refresh of 1 % "
        f"of the {interval} steps between two. Dense hardware multiplies by zeros: no mask makes a step "
        "faster than the dense one."
    )
