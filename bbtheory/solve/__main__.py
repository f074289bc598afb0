"""The command line ``python -m bbtheory.solve``: what is asked for, and who answers it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from bbtheory import cli
from bbtheory.solve.on_rates import answer_on_rates


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m bbtheory.solve",
        "Which on-rates does a traffic budget of these fan-outs imply? With --on-rate: which degrees do\n"
        "measured on-rates call for?",
        [
            "python -m bbtheory.solve --budget 8 --fan-out 1:64 --plot balance.png",
            "python -m bbtheory.solve --on-rate units.csv --beta 0.5 --density 0.3 --json",
            "python -m bbtheory.solve --recommend --on-rate units.csv --density 0.3 --batch 128",
        ],
    )
    add = parser.add_argument
    add(
        "--beta",
        type=float,
        metavar="B",
        help="slope of the balance and price of traffic, nats/link, >= 0",
    )
    add("--budget", type=float, metavar="T", help="traffic the population may carry, links/step, > 0")
    add(
        "--fan-out",
        metavar="SPEC",
        help="A:B[:STEP] (whole numbers, inclusive), a comma list, FILE.csv (column fan_out; optional "
        "count, layer, budget), FILE.npy or - (default 1:32)",
    )
    add("--joint", action="store_true", help="one budget and one beta for all layers together")
    add(
        "--chunked",
        action="store_true",
        help="read FILE.npy chunk by chunk, for populations larger than memory; --output FILE.npy",
    )
    add("--lower", type=float, default=0.0, metavar="A", help="least on-rate a unit may have (default 0)")
    add("--upper", type=float, default=1.0, metavar="A", help="largest on-rate a unit may have (default 1)")
    add("--on-rate", metavar="SPEC", help="measured on-rates (column on_rate): solve for degrees instead")
    add("--rule", default="balance", choices=("balance", "equal_traffic", "uniform"), help="degree rule")
    add("--d0", type=float, metavar="D0", help="degree of a unit that is on half of the time, links")
    add("--density", type=float, metavar="RHO", help="mean degree / max degree to meet, in (0, 1]")
    add("--min-degree", type=float, metavar="M", help="least degree, links (default 0)")
    add(
        "--max-degree",
        type=float,
        metavar="D",
        help="largest degree, links (default: largest fan_out of the file)",
    )
    add("--integer", action="store_true", help="whole links")
    add(
        "--recommend",
        action="store_true",
        help="with --on-rate and --density: how to set every knob, and why",
    )
    add("--batch", type=float, metavar="B", help="recommend: independent samples a step (default 128)")
    add(
        "--margin",
        type=float,
        metavar="S",
        help="recommend: unused part of the admissible gain (default 0.5)",
    )
    add(
        "--actuator",
        choices=("sp_in", "sp_out", "both"),
        help="recommend: whose degrees are set (default sp_in, safe for sp_out too)",
    )
    add("--interval", type=int, metavar="DELTA", help="recommend: steps between refreshes, if fixed already")
    add("--ema-decay", type=float, metavar="D", help="recommend: EMA decay per step, if fixed already")
    add("--json", action="store_true", help="print one JSON object")
    add("--output", metavar="FILE.csv", help="write one row per unit (with --chunked: FILE.npy of on-rates)")
    add("--plot", metavar="FILE", help="draw to FILE.png, .pdf or .svg")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return cli.run(_parser(), _solve, argv)


def _solve(args: argparse.Namespace) -> int:
    if not args.recommend:
        for name in ("batch", "margin", "actuator", "interval", "ema_decay"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} must be given with --recommend only")
    elif args.on_rate is None:
        raise ValueError("--on-rate must be given with --recommend")
    if args.on_rate is not None:
        _refuse(
            args, "--on-rate", fan_out=None, budget=None, joint=False, chunked=False, lower=0.0, upper=1.0
        )
        if args.recommend:
            _refuse(args, "--recommend", d0=None, integer=False, rule="balance")
            from bbtheory.solve.recommendation import answer_recommendation

            return answer_recommendation(args)
        from bbtheory.solve.degrees import answer_degrees

        return answer_degrees(args)
    _refuse(
        args, "fan-outs (it needs --on-rate)",
        density=None, d0=None, min_degree=None, max_degree=None, integer=False, rule="balance",
    )  # fmt: skip
    if args.chunked:
        _refuse(args, "--chunked", joint=False, plot=None)
        from bbtheory.solve.chunked import answer_chunked

        return answer_chunked(args)
    return answer_on_rates(args)


def _refuse(args: argparse.Namespace, beside: str, **defaults: Any) -> None:
    """Raise ValueError where an option was given that means nothing beside another."""
    for name, default in defaults.items():
        if getattr(args, name) != default:
            raise ValueError(f"--{name.replace('_', '-')} must not be given with {beside}")


if __name__ == "__main__":
    sys.exit(main())
