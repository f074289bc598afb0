"""From measured on-rates to degrees: the controller face of the command line."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from bbtheory import cli
from bbtheory.records import SCHEMA, plain
from bbtheory.solve.on_rates import LONG_TABLE, QUANTILES, save_plot
from bbtheory.solve.units import read_units
from bbtheory.tables import format_table, write_csv
from bbtheory.theory.controller import match_density, target_degree


def answer_degrees(args: argparse.Namespace) -> int:
    """Solve, write and print; return the exit code."""
    units = read_units("--on-rate", "on_rate", args.on_rate, "[0, 1]")
    fan_out = units.column("fan_out", "[0, inf)")
    top = args.max_degree
    if top is None:
        if fan_out is None:
            raise ValueError("--max-degree must be given: the on-rates come without a fan_out column")
        top = float(fan_out.max())
    least = 0.0 if args.min_degree is None else args.min_degree
    clip: dict[str, Any] = {"min_degree": least, "max_degree": top, "integer": args.integer}
    if args.rule != "balance" and args.beta is not None:
        raise ValueError(f"--beta must not be given with --rule {args.rule}, which has no slope")
    given = sum(getattr(args, name) is not None for name in ("beta", "d0", "density"))
    if given != (2 if args.rule == "balance" else 1):
        wanted = "two of --beta, --d0" if args.rule == "balance" else "one of --d0"
        raise ValueError(f"{wanted} and --density must be given with --on-rate and --rule {args.rule}")
    if args.density is None:
        d0 = args.d0
        degree = target_degree(units.values, rule=args.rule, beta=args.beta, d0=d0, **clip)
        beta, roots = args.beta, []
    else:
        solve_for = "beta" if args.d0 is not None and args.rule == "balance" else "d0"
        match = match_density(
            units.values,
            args.density,
            solve_for=solve_for,
            rule=args.rule,
            beta=args.beta,
            d0=args.d0,
            **clip,
        )
        beta, d0, degree, roots = match.beta, match.d0, match.degree, match.roots.tolist()
        if len(roots) > 1:
            print(
                f"warning: {len(roots)} values of {solve_for} meet this density "
                f"({', '.join(f'{r:.6g}' for r in roots)}); the degrees are those of the first",
                file=sys.stderr,
            )
    if args.integer:
        degree = degree.astype(np.int64)
    answer = {
        "schema": SCHEMA,
        "kind": "controller",
        "rule": args.rule,
        "beta": beta,
        "d0": d0,
        "density": float(degree.mean() / top),
        "roots": roots,
        "min_degree": least,
        "max_degree": top,
        "units": {"on_rate": units.values, "degree": degree},
    }
    if args.output is not None:
        kept = {} if units.table is None else {n: units.table.text(n) for n in units.table.columns}
        write_csv(args.output, kept | {"on_rate": units.values, "degree": degree})
    if args.plot is not None:
        title = f"rule {args.rule}: n = {degree.size:,} units, density {answer['density']:.6g}"
        save_plot(args.plot, lambda plots, figure: plots.draw_controller(units.values, degree, title, figure))
    if args.json:
        print(json.dumps(plain(answer), allow_nan=False))
    else:
        print(_controller_report(answer, units.values, degree))
    return cli.ANSWERED


def _controller_report(answer: dict[str, Any], on_rate: np.ndarray, degree: np.ndarray) -> str:
    facts = [("d0", answer["d0"], "links"), ("density", answer["density"], "mean degree / max degree")]
    if answer["rule"] == "balance":
        facts.insert(0, ("beta", answer["beta"], "nats/link"))
    lines = [f"degrees of {on_rate.size:,} units by the rule {answer['rule']}"]
    lines += [f"  {name:<10}{value:<13.9g}{unit}" for name, value, unit in facts]
    at = np.argsort(on_rate, kind="stable")
    header, label = ["on_rate", "degree [links]"], None
    if at.size > LONG_TABLE:
        at = at[np.round(np.array(QUANTILES) * (at.size - 1)).astype(int)]
        label = [f"{q:.0%}" for q in QUANTILES]
        header.insert(0, "quantile of on_rate")
    rows: list[list[Any]] = [[on_rate[i], degree[i]] for i in at]
    if label is not None:
        rows = [[q, *row] for q, row in zip(label, rows, strict=True)]
    return "\n".join([*lines, "", format_table(header, rows)])
