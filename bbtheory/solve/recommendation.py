"""From measured on-rates to knobs: the face of ``--recommend``, layer by layer with one interval for all."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import replace
from typing import Any

import numpy as np

from bbtheory import cli
from bbtheory.records import SCHEMA, plain
from bbtheory.solve.on_rates import save_plot
from bbtheory.solve.units import Units, read_units
from bbtheory.tables import write_csv
from bbtheory.theory.recommend import recommend
from bbtheory.theory.recommendation import Recommendation

DEFAULT_BATCH = 128.0
_WIDTH = 88  # columns of the reasons


def answer_recommendation(args: argparse.Namespace) -> int:
    """Choose, verify, write and print; return the exit code."""
    units = read_units("--on-rate", "on_rate", args.on_rate, "[0, 1]")
    if args.density is None:
        raise ValueError("--density must be given with --recommend")
    rows = units.layers()
    asked = {layer: _question(args, units, at) for layer, at in rows.items()}
    found = {layer: _answer(layer, question) for layer, question in asked.items()}
    if len(found) > 1:
        # one clock for the network: the shortest interval and the longest memory that a layer asks for
        clock = {
            "interval": min(r.interval for r in found.values()),
            "ema_decay": max(r.ema_decay for r in found.values()),
        }
        shared = {layer: _answer(layer, question | clock) for layer, question in asked.items()}
        why = {
            "interval": "the shortest that a layer asks for",
            "ema_decay": "the longest that a layer asks for",
        }
        found = {layer: replace(r, reasons={**r.reasons, **why}) for layer, r in shared.items()}
    if args.output:
        write_csv(args.output, _columns(units, rows, found))
    if args.plot:
        rates, degrees = (
            np.concatenate([getattr(r, n) for r in found.values()]) for n in ("on_rate", "degree")
        )
        title = f"recommended degrees: n = {rates.size:,} units, density {args.density:g}"
        save_plot(args.plot, lambda plots, figure: plots.draw_controller(rates, degrees, title, figure))
    if args.json:
        print(json.dumps(_json(found), allow_nan=False))
    else:
        for layer, r in found.items():
            print(_report(layer, r))
    return cli.ANSWERED


def _question(args: argparse.Namespace, units: Units, at: np.ndarray) -> dict[str, Any]:
    """Return the arguments of `recommend` for the units of one layer."""

    def column(name: str) -> np.ndarray | None:
        values = units.column(name)
        return None if values is None else values[at]

    own, other = ("fan_out", "fan_in") if args.actuator == "sp_out" else ("fan_in", "fan_out")
    degree = column(own)
    known = degree if degree is not None else column(other)
    top = args.max_degree
    if top is None:
        if known is None:
            raise ValueError(f"--max-degree must be given: the on-rates come without a {own} column")
        top = float(known.max())
    gain = None if args.actuator == "sp_out" else column("gain")
    return {
        "on_rate": units.values[at],
        "density": args.density,
        "batch": DEFAULT_BATCH if args.batch is None else args.batch,
        "max_degree": top,
        "min_degree": 0.0 if args.min_degree is None else args.min_degree,
        "gain": gain,
        "degree": None if gain is None else degree,
        "actuator": args.actuator or "sp_in",
        "beta": args.beta,
        "interval": args.interval,
        "ema_decay": args.ema_decay,
    } | ({} if args.margin is None else {"margin": args.margin})


def _answer(layer: str, question: dict[str, Any]) -> Recommendation:
    try:
        return recommend(**question)
    except ValueError as error:
        if not layer:
            raise
        raise ValueError(f"layer {layer}: {error}") from None


def _json(found: dict[str, Recommendation]) -> dict[str, Any]:
    first = next(iter(found.values()))
    if len(found) == 1:
        return first.to_dict()
    return {
        "schema": SCHEMA,
        "kind": "recommendation",
        "interval": first.interval,
        "ema_decay": first.ema_decay,
        "burn_in": max(r.burn_in for r in found.values()),
        "layers": [{"layer": layer, **plain(r)} for layer, r in found.items()],
    }


def _columns(
    units: Units, rows: dict[str, np.ndarray], found: dict[str, Recommendation]
) -> dict[str, np.ndarray]:
    """Return what the source said of each unit, and what is recommended for it, in the source's order."""
    kept: dict[str, Any] = {}
    if units.table is not None:
        kept = {name: units.table.text(name) for name in units.table.columns}
    kept["on_rate"] = units.values
    for name, source in Recommendation.UNITS.items():
        column = np.empty(units.values.size)
        for layer, at in rows.items():
            column[at] = getattr(found[layer], source)
        kept[{"on_rate": "predicted_on_rate"}.get(name, name)] = column
    return kept


def _report(layer: str, r: Recommendation) -> str:
    """Return knobs with their reasons, then what they lead to."""
    named = f"layer {layer}: " if layer else ""
    lines = [
        f"{named}knobs for {r.n_units:,} units at density {r.density:g} "
        f"({r.actuator}, degrees {r.min_degree:g} to {r.max_degree:g}, {r.batch:g} samples a step)",
        f"  gain of on-rates in their degrees: {r.gain_source}",
    ]
    knobs = (
        ("beta", "nats/link"),
        ("d0", "links"),
        ("threshold", "links/step"),
        ("interval", "steps"),
        ("ema_decay", "per step"),
        ("burn_in", "steps"),
    )
    for name, unit in knobs:
        lines.append(f"  {name:<12}{getattr(r, name):<13.9g}{unit}")
        lines += textwrap.wrap(r.reasons[name], _WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 14)
    low, high = r.multiplier_range
    verified = "met" if r.meets_margin else "MISSED"
    predicted = [
        ("density", f"{r.achieved:.6g}", f"traffic {r.budget:.6g} links/step"),
        (
            "margin",
            f"{r.least_margin:.3g}",
            f"of the admissible loop gain unused; {r.margin:g} asked: {verified}",
        ),
        ("multiplier", f"{low:.3g}", f"to {high:.3g} per refresh; settles in {r.settling_steps:.3g} steps"),
        ("noise", f"{r.degree_noise:.3g}", "links, standard deviation of nine in ten degrees at most"),
        ("churn", f"{r.churn_per_step:.3g}", f"links/step; {r.churn_share:.2%} of the links at a refresh"),
        ("on a clip", f"{r.n_clipped:,}", f"units; {r.n_runaway:,} held by it alone"),
    ]
    lines.append("  predicted")
    lines += [f"    {name:<12}{value:<11}{note}" for name, value, note in predicted]
    return "\n".join([*lines, ""])
