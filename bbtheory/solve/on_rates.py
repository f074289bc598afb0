"""From fan-outs to on-rates: the equilibrium face of the command line, layer by layer or joint."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bbtheory import cli, validate
from bbtheory.records import SCHEMA, ConvergenceError, plain
from bbtheory.solve.units import Units, read_units
from bbtheory.tables import format_table, write_csv
from bbtheory.theory.equilibrium import Equilibrium, solve_equilibrium

LONG_TABLE = 40  # rows; a longer population is shown by quantiles
_WHOLE = None  # the key of all layers together; a layer may be named ""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def answer_on_rates(args: argparse.Namespace) -> int:
    """Solve, write and print; return the exit code."""
    units = read_units("--fan-out", "fan_out", "1:32" if args.fan_out is None else args.fan_out, "[0, inf)")
    budgets = _budgets(args, units)
    count = units.column("count", "[1, 1e15]")
    rows = units.layers()
    apart = len(rows) > 1 and not args.joint
    groups: dict[str | None, np.ndarray] = {**rows} if apart else {_WHOLE: np.arange(units.values.size)}
    per_layer: dict[str | None, float] = {**budgets}
    if budgets and not apart:
        per_layer = {_WHOLE: next(iter(budgets.values()))}
    solved: dict[str | None, Equilibrium] = {}
    failure = None
    for layer, at in groups.items():
        try:
            with _naming(layer):
                solved[layer] = solve_equilibrium(
                    units.values[at],
                    beta=None if budgets else args.beta,
                    budget=per_layer.get(layer),
                    count=None if count is None else count[at],
                    lower=args.lower,
                    upper=args.upper,
                )
        except ConvergenceError as error:
            failure, unfinished = error, error.record
            assert isinstance(unfinished, Equilibrium)
            solved[layer] = unfinished
    whole = solved.get(_WHOLE)
    if whole is None:
        layers = {str(layer): e for layer, e in solved.items()}
    else:
        layers = _split(whole, rows) if len(rows) > 1 else {"": whole}
    if args.output is not None:
        write_csv(args.output, _unit_columns(layers))
    if args.plot is not None:
        save_plot(args.plot, lambda plots, figure: plots.draw_equilibrium(layers, figure))
    if args.json:
        print(json.dumps(_equilibrium_json(whole, layers), allow_nan=False))
    else:
        for layer, equilibrium in layers.items():
            print(_report(layer, equilibrium))
        if whole is not None and len(layers) > 1:
            print(
                f"all layers share beta = {whole.beta:.9g} nats/link and budget {whole.budget:.9g} links/step"
            )
    if failure is not None:
        raise failure
    return cli.ANSWERED


@contextmanager
def _naming(layer: str | None) -> Iterator[None]:
    """Say of errors and warnings which layer they are about."""
    if layer is _WHOLE:
        yield
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except ValueError as error:
            raise ValueError(f"layer {layer!r}: {error}") from error
    for warning in caught:
        warnings.warn(f"layer {layer!r}: {warning.message}", stacklevel=2)


def _budgets(args: argparse.Namespace, units: Units) -> dict[str, float]:
    """Budget of each layer, from --budget or the file's own column; empty where beta is given."""
    column = units.column("budget", "(0, inf)")
    budgets: dict[str, float] = {}
    if column is None or args.beta is not None or args.budget is not None:
        validate.exactly_one(**{"--beta": args.beta, "--budget": args.budget})
        if column is not None:
            warnings.warn(
                f"{units.source} has a budget column, which the command line overrules", stacklevel=2
            )
        if args.budget is not None:
            budgets.update((layer, float(args.budget)) for layer in units.layers())
        return budgets
    if args.joint:
        raise ValueError("--joint must be given one --budget or --beta, the budget column has one per layer")
    for layer, at in units.layers().items():
        if (column[at] != column[at[0]]).any():
            raise ValueError(f"{units.source}: budget must be one number per layer, it changes in {layer!r}")
        budgets[layer] = float(column[at[0]])
    return budgets


def _split(whole: Equilibrium, rows: dict[str, np.ndarray]) -> dict[str, Equilibrium]:
    """Return a joint solution layer by layer; a layer's budget is the traffic it was left."""
    parts = {}
    for layer, at in rows.items():
        fields = {n: getattr(whole, n)[at] for n in ("fan_out", "count", "cost", "lower", "upper", "on_rate")}
        share = float(np.dot(whole.count[at], whole.unit_traffic[at]))
        parts[layer] = replace(whole, **fields, budget=share)
    return parts


def _equilibrium_json(whole: Equilibrium | None, layers: dict[str, Equilibrium]) -> dict[str, Any]:
    if len(layers) == 1:
        return next(iter(layers.values())).to_dict()
    out: dict[str, Any] = {"schema": SCHEMA, "kind": "layers", "joint": whole is not None}
    if whole is not None:
        summary = whole.to_dict()
        del summary["units"], summary["schema"], summary["kind"]
        out |= summary
    out["layers"] = [{"layer": layer, **plain(e)} for layer, e in layers.items()]
    return out


def _unit_columns(layers: dict[str, Equilibrium]) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    if len(layers) > 1:
        columns["layer"] = np.concatenate([np.full(e.fan_out.size, name) for name, e in layers.items()])
    for name, source in [*Equilibrium.UNITS.items(), ("inactivity_log_odds", "inactivity_log_odds")]:
        columns[name] = np.concatenate([getattr(e, source) for e in layers.values()])
    return columns


def _report(layer: str, e: Equilibrium) -> str:
    """Return the answer as text: what was found, how well, and the units."""
    named = f"layer {layer}: " if layer else ""
    notes = [f"{e.n_silent:,} without audience"] * (e.n_silent > 0)
    notes += [f"{e.n_underflow:,} with on-rates below float64"] * (e.n_underflow > 0)
    facts = [
        ("beta", e.beta, "nats/link"),
        ("budget", e.budget, "links/step"),
        ("traffic", e.traffic, "links/step"),
        ("coding entropy", e.coding_entropy, "nats"),
        ("price of traffic dH/dT", e.price_of_traffic, "nats/link"),
        ("dT/dbeta", e.dtraffic_dbeta, "(links/step)/(nats/link)"),
    ]
    lines = [f"{named}equilibrium of {e.n_units:,} units" + (f" ({', '.join(notes)})" if notes else "")]
    lines += [f"  {name:<23}{value:<13.9g}{unit}" for name, value, unit in facts]
    lines.append(
        f"  {'status':<23}{e.status}; residuals: stationarity {e.residuals.stationarity:.1e}, "
        f"budget {e.residuals.budget:.1e}"
    )
    header = ["fan_out [links]", "on_rate", "traffic [links/step]", "log-odds [nats]"]
    at = np.argsort(e.fan_out, kind="stable")
    label = None
    if at.size > LONG_TABLE:
        # the unit at each quantile of fan-out, multiplicities counted
        reached = np.searchsorted(np.cumsum(e.count[at]), np.array(QUANTILES) * e.n_units)
        at = at[np.minimum(reached, at.size - 1)]
        label = [f"{q:.0%}" for q in QUANTILES]
        header.insert(0, "quantile of fan_out")
    elif e.count.max() > 1:
        label = [int(c) for c in e.count[at]]
        header.insert(0, "units")
    odds = e.inactivity_log_odds
    rows: list[list[Any]] = [[e.fan_out[i], e.on_rate[i], e.unit_traffic[i], odds[i]] for i in at]
    if label is not None:
        rows = [[first, *row] for first, row in zip(label, rows, strict=True)]
    return "\n".join([*lines, "", format_table(header, rows), ""])


def save_plot(path: str, draw: Callable[[Any, Any], object]) -> None:
    """Make a figure, let ``draw(plots, figure)`` draw on it, and write it."""
    from bbtheory import plots

    with plots.drawing(path, plots.THREE_PANELS) as figure:
        draw(plots, figure)
