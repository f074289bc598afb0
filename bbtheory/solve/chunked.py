"""From fan-outs in a file larger than memory to their multiplier: the chunked face of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from bbtheory import cli, validate
from bbtheory.records import ConvergenceError
from bbtheory.tables import format_table
from bbtheory.theory.chunked_equilibrium import ChunkedEquilibrium, solve_chunked
from bbtheory.theory.chunks import Chunks

_QUIET = 2.0  # seconds without a progress bar
_PASSES = 3  # the bar's total: what fan-outs that are not counted take


def answer_chunked(args: argparse.Namespace) -> int:
    """Solve, write and print; return the exit code."""
    if args.fan_out is None or not args.fan_out.lower().endswith(".npy"):
        raise ValueError(f"--chunked must be given with --fan-out FILE.npy, got {args.fan_out or 'none'}")
    if args.output is not None and not args.output.lower().endswith(".npy"):
        raise ValueError(f"--output must be a .npy file with --chunked, got {args.output!r}")
    validate.exactly_one(**{"--beta": args.beta, "--budget": args.budget})
    failure = None
    with _reading(args.fan_out) as chunks:
        try:
            solved = solve_chunked(
                chunks,
                beta=args.beta,
                budget=args.budget,
                lower=args.lower,
                upper=args.upper,
                output=args.output,
            )
        except ConvergenceError as error:
            failure, solved = error, error.record
            assert isinstance(solved, ChunkedEquilibrium)
    print(solved.to_json() if args.json else _report(solved))
    if failure is not None:
        raise failure
    return cli.ANSWERED


@contextmanager
def _reading(path: str) -> Iterator[Chunks]:
    """Open a file of fan-outs; show how far it is read if that takes a while."""
    from tqdm import tqdm

    chunks = Chunks(path)
    total = _PASSES * chunks.size
    with tqdm(
        total=total, desc="units read", unit_scale=True, delay=_QUIET, disable=None, leave=False
    ) as bar:
        chunks.on_read = bar.update
        yield chunks


def _report(e: ChunkedEquilibrium) -> str:
    """Return the answer as text: what was found, how well, and the units at the ends."""
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
    lines = [f"equilibrium of {e.n_units:,} units" + (f" ({', '.join(notes)})" if notes else "")]
    lines += [f"  {name:<23}{value:<13.9g}{unit}" for name, value, unit in facts]
    lines.append(
        f"  {'status':<23}{e.status}; residuals: stationarity {e.residuals.stationarity:.1e}, "
        f"budget {e.residuals.budget:.1e}"
    )
    counted = f", {e.n_distinct:,} distinct fan-outs counted" if e.n_distinct else ""
    lines.append(f"  {'read':<23}{e.n_passes} {'time' if e.n_passes == 1 else 'times'}{counted}")
    mean = e.mean_fan_out
    rows = [
        [name, k, float(e.on_rate(k)), k * float(e.on_rate(k))]
        for name, k in (("least", e.least_fan_out), ("mean", mean), ("largest", e.largest_fan_out))
    ]
    return "\n".join(
        [*lines, "", format_table(["", "fan_out [links]", "on_rate", "traffic [links/step]"], rows)]
    )
