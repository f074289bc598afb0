"""``python -m bbtheory.fit``: judge a measured density-saliency curve, or measured units, from a CSV file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from bbtheory import cli
from bbtheory.fit import examples
from bbtheory.fit.balance import BalanceFit, fit_balance
from bbtheory.fit.power_law import PruningLawFit, fit_power_law
from bbtheory.tables import Table, format_table, read_csv


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser(
        "python -m bbtheory.fit",
        "Judge measured curves and units against the theory.",
        (
            "python -m bbtheory.fit --example example",
            "python -m bbtheory.fit pruning-law example/curve.csv --plot curve.png",
            "python -m bbtheory.fit balance example/units.csv --json",
        ),
    )
    parser.add_argument("--example", metavar="DIR", help="write two small files of known truth and stop")
    what = parser.add_subparsers(dest="what", metavar="{pruning-law,balance}")
    law = what.add_parser(
        "pruning-law",
        help="is density a power of saliency?",
        description="Fit density = c saliency^-exponent in a window of densities; judge it by its rivals.",
        epilog="examples:\n  python -m bbtheory.fit pruning-law curve.csv\n"
        "  python -m bbtheory.fit pruning-law log.csv --saliency gamma --remaining kept --fraction --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    law.add_argument("--saliency", metavar="COL", default="Saliency", help="column (default: Saliency)")
    law.add_argument("--remaining", metavar="COL", default="Remaining", help="column (default: Remaining)")
    unit = law.add_mutually_exclusive_group()
    unit.add_argument("--percent", action="store_true", help="the remaining column is in percent")
    unit.add_argument("--fraction", action="store_true", help="the remaining column is a fraction")
    law.add_argument(
        "--window",
        nargs=2,
        type=float,
        default=(0.005, 0.5),
        metavar=("LOW", "HIGH"),
        help="fit where LOW < density <= HIGH, fractions (default: 0.005 0.5)",
    )
    balance = what.add_parser(
        "balance",
        help="are log-odds of on-rates a line in fan-out?",
        description="Fit ln((1-a)/a) = intercept + slope * fan_out, group by group; judge it by a k = const.",
        epilog="examples:\n  python -m bbtheory.fit balance units.csv\n"
        "  python -m bbtheory.fit balance units.csv --group layer --degree fan_in --max-degree 64 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    balance.add_argument("--group", metavar="COL", help="column (default: layer, where there is one)")
    balance.add_argument("--degree", choices=("fan_out", "fan_in"), default="fan_out", help="column")
    balance.add_argument(
        "--min-degree", type=float, metavar="M", help="leave out units at or below this clip"
    )
    balance.add_argument(
        "--max-degree", type=float, metavar="D", help="leave out units at or above this clip"
    )
    for command in (law, balance):
        command.add_argument("file", metavar="FILE.csv", help="- for standard input")
        command.add_argument("--json", action="store_true", help="one JSON object instead of tables")
        command.add_argument("--plot", metavar="FILE", help="write a picture: .png, .pdf or .svg")
    return parser


def _find(table: Table, name: str) -> str:
    """Return the column of this name, else the one that differs in case only, else the name itself."""
    if name in table:
        return name
    same = [column for column in table.columns if column.lower() == name.lower()]
    return same[0] if len(same) == 1 else name


def _column(table: Table, name: str, low: float, high: float) -> np.ndarray:
    """Return a column of finite numbers in [low, high]; an error names the line."""
    name = _find(table, name)
    values = np.asarray(table.numbers(name), dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        domain = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f"finite and at least {low:g}"
        raise ValueError(
            f"{table.source} line {table.lines[at]}: {name} must be {domain}, got {table.text(name)[at]!r}"
        )
    return values


def _density(table: Table, args: argparse.Namespace) -> np.ndarray:
    """Return the remaining column as a fraction."""
    percent, ceiling = args.percent, 1.0 if args.fraction else 100.0
    remaining = _column(table, args.remaining, 0.0, ceiling)
    if not (args.percent or args.fraction):
        largest = float(remaining.max())
        if largest <= 0.5:
            raise ValueError(
                f"{table.source}: {_find(table, args.remaining)} is at most {largest:g}, which may be "
                "percent or a fraction; say --percent or --fraction"
            )
        percent = largest > 1.0
    return remaining / 100.0 if percent else remaining


def _pruning_law(args: argparse.Namespace) -> PruningLawFit:
    table = read_csv(args.file)
    saliency = _column(table, args.saliency, 0.0, np.inf)
    density = _density(table, args)
    named = "Accuracy"
    accuracy = _column(table, named, 0.0, np.inf) if _find(table, named) in table else None
    return fit_power_law(saliency, density, window=tuple(args.window), accuracy=accuracy)


def _balance(args: argparse.Namespace) -> BalanceFit:
    table = read_csv(args.file)
    on_rate = _column(table, "on_rate", 0.0, 1.0)
    degree = _column(table, args.degree, 0.0, np.inf)
    group = args.group or ("layer" if _find(table, "layer") in table else None)
    return fit_balance(
        on_rate,
        degree,
        group=None if group is None else table.text(_find(table, group)),
        min_degree=args.min_degree,
        max_degree=args.max_degree,
        degree_kind=args.degree,
    )


def _show_law(fit: PruningLawFit) -> str:
    line, parts = fit.window, fit.segments

    def row(
        name: str, value: object, interval: Sequence[float] | np.ndarray | None = None, unit: str = ""
    ) -> list[object]:
        ends = interval if interval is not None else (None, None)
        return [name, value, ends[0], ends[1], unit]

    spread = fit.window_spread
    rows = [
        row("exponent", line.exponent, line.exponent_interval),
        row("  OLS standard error", line.exponent_stderr),
        row("  HAC standard error", line.exponent_hac_stderr),
        row("  over moved windows", None, spread),
        row("prefactor", line.prefactor, line.prefactor_interval, "density at saliency 1"),
        row("R^2", line.r_squared),
        row("Durbin-Watson", fit.durbin_watson, None, "2 if residuals are unrelated"),
        row("curvature t", fit.curvature.t, None, f"p = {fit.curvature.p:.2g}, HAC"),
    ]
    ends = [f"low {fit.level:.0%}", f"high {fit.level:.0%}"]
    blocks = [
        f"power law inside {line.low:g} < density <= {line.high:g}: {line.n} of {fit.n} points"
        + (f", {fit.n_dropped} rows dropped (zeros, repeats)" if fit.n_dropped else ""),
        line.note or format_table(["window", "value", *ends, ""], rows),
    ]
    rows = [row(f"exponent {i + 1}", parts.exponents[i], parts.exponent_intervals[i]) for i in range(3)]
    for i in range(2):
        at = f"density; saliency {parts.break_saliencies[i]:.4g}"
        rows.insert(2 * i + 1, row(f"break {i + 1}", parts.break_densities[i], parts.break_intervals[i], at))
    blocks += ["", f"three segments through all {parts.n} points"]
    blocks.append(parts.note or format_table(["segments", "value", *ends, ""], rows))
    blocks += ["", "comparison: smaller is better, k counts breaks and sigma"]
    scores = [[s.points, s.model, s.n, s.k, round(s.aicc, 1), round(s.bic, 1)] for s in fit.comparison]
    blocks.append(format_table(["points", "model", "n", "k", "AICc", "BIC"], scores))
    return "\n".join([*blocks, "", f"verdict: {fit.verdict}: {fit.reason}"])


def _show_balance(fit: BalanceFit) -> str:
    rows = [
        [g.group, g.slope, *g.slope_interval, g.intercept, g.r_squared, g.permutation_p, g.n_used, g.n_dead,
         g.n_saturated, g.n_clipped]
        for g in fit.groups
    ]  # fmt: skip
    ends = [f"low {fit.level:.0%}", f"high {fit.level:.0%}"]
    header = ["group", "slope", *ends, "intercept", "R^2", "perm. p", "used", "dead", "saturated", "clipped"]
    models = ("line", "hyperbola", "constant")
    scores = []
    for g in fit.groups:
        found = {s.model: s.aicc for s in g.comparison}
        scores.append([g.group, *(found.get(m) for m in models), g.tau, *g.tau_interval])
    return "\n".join(
        [
            f"log-odds of silence against {fit.degree_kind}: slope = beta, nats per link; intercept, nats",
            format_table(header, rows),
            "",
            "AICc (smaller is better), and tau of the hyperbola on_rate * degree = tau, in links per step",
            format_table(["group", *models, "tau", *ends], scores),
            "",
            *(f"verdict {g.group}: {g.verdict}: {g.reason}" for g in fit.groups),
        ]
    )


def _write_examples(folder: str) -> int:
    curve, units = examples.write_examples(folder)
    first, second = examples.BREAKS
    print(
        f"{curve}: exponent {examples.EXPONENT}, prefactor {examples.PREFACTOR}; breaks at densities "
        f"{first:g} and {second:g}, exponents beyond them {' and '.join(map(str, examples.OUTER_EXPONENTS))}"
    )
    print(
        f"{units}: layer 1 beta {examples.BETA} nats per link, d0 {examples.D0:g}, 3 dead units; "
        f"layer 2 on_rate * fan_out = {examples.TAU:g}, a hyperbola"
    )
    print(f"python -m bbtheory.fit pruning-law {curve}")
    print(f"python -m bbtheory.fit balance {units}")
    return cli.ANSWERED


def _body(args: argparse.Namespace) -> int:
    if (args.example is None) == (args.what is None):
        raise ValueError("give either pruning-law or balance with a file, or --example DIR")
    if args.example is not None:
        return _write_examples(args.example)
    law = args.what == "pruning-law"
    if not args.plot:
        fit = _pruning_law(args) if law else _balance(args)
    else:
        from bbtheory import plots

        # the ending is checked before the work, and nothing is printed unless the picture is written
        with plots.drawing(args.plot, (6.0, 6.0) if law else (8.0, 4.0)) as figure:
            fit = _pruning_law(args) if law else _balance(args)
            if isinstance(fit, PruningLawFit):
                plots.draw_pruning_law(fit, figure)
            else:
                plots.draw_balance(fit, figure)
    if args.json:
        print(fit.to_json(indent=1))
    else:
        print(_show_law(fit) if isinstance(fit, PruningLawFit) else _show_balance(fit))
    return cli.ANSWERED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return cli.run(_parser(), _body, argv)


if __name__ == "__main__":
    sys.exit(main())
