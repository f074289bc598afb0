"""The command line of ``python -m experiments``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from bbtheory import archive, cli, validate
from bbtheory.catalog import Catalog
from bbtheory.tables import format_table
from experiments._cells import explain
from experiments._cluster import NoClusterError, connected
from experiments._cost import cost_table
from experiments._show import readable
from experiments._sweep import FailedError, Means, Sweep, UnfinishedError


def main(argv: Sequence[str] | None = None, package: str = "experiments") -> int:
    """Run the command line on the experiments of ``package``."""
    parser = cli.make_parser(
        "python -m experiments",
        "Make the records that figures and checks stand on; without a name, list the experiments.",
        [
            "python -m experiments static_null --preset smoke",
            "python -m experiments all --jobs 2 --time-limit 600",
        ],
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="experiments, or all")
    add("--preset", choices=archive.PRESETS[::-1], help="how large (default: cpu)")
    add("--jobs", type=int, default=1, metavar="N", help="processes for the cells of a sweep (default: 1)")
    add(
        "--cluster",
        metavar="ADDRESS",
        help="run the cells on this Dask scheduler, whose workers run this checkout and see its folders",
    )
    add("--time-limit", type=float, default=math.inf, metavar="S", help="start no cell that would end later")
    add("--data-root", metavar="D", help="folder of the measured data sets (default: $BBTHEORY_DATA)")
    add("--results", type=Path, default=archive.RESULTS, metavar="D", help="the archive (default: results)")
    add("--force", action="store_true", help="run anew what is there already")
    add("--show", action="store_true", help="print the records that are there, run nothing")
    add(
        "--cost", action="store_true", help="print what they took, and would on --jobs N workers; run nothing"
    )
    return cli.run(parser, lambda args: _body(args, Catalog(package)), argv)


def _body(args: argparse.Namespace, catalog: Catalog) -> int:
    names = catalog.choose(args.names)
    if not names:
        print(_listing(catalog, args.results))
        return cli.ANSWERED
    if args.show:
        return _show(catalog, names, args.results, args.preset)
    if args.cost:
        return _cost(catalog, names, args)
    preset = args.preset or "cpu"
    for name in () if "all" in args.names else names:
        if preset not in (has := _presets(catalog, name)):
            raise ValueError(f"--preset must be one that {name} has ({', '.join(has)}), got {preset!r}")
    if args.cluster is not None and importlib.util.find_spec("distributed") is None:
        return _fail("--cluster needs dask.distributed: pip install 'bbtheory[cluster]'")
    means = _means(args)
    try:
        with nullcontext() if args.cluster is None else connected(args.cluster) as client:
            return _run(catalog, names, preset, dataclasses.replace(means, client=client), args.force)
    except NoClusterError as reason:
        return _fail(f"--cluster: {reason}")


def _run(catalog: Catalog, names: list[str], preset: str, means: Means, force: bool) -> int:
    """Run the named experiments under one preset; what is missing in one leaves the others alone."""
    status = cli.ANSWERED
    for name in names:
        try:
            if preset not in _presets(catalog, name):
                print(f"{name}: has no preset {preset}, left out", file=sys.stderr)
                continue
            sweep = Sweep(catalog, name, preset, means)
            print(f"{name}  {preset}  {sweep.run(force)}  {_short(sweep.path)}", flush=True)
        except UnfinishedError as reason:
            print(f"{name}: {reason}", file=sys.stderr)
        except FailedError as reason:
            status = _fail(f"{name}: {reason}")
        except NoClusterError:
            raise
        except Exception as error:
            if cli.hides_interrupt(error):
                raise KeyboardInterrupt from None
            status = _fail(f"{name}: {explain(error)}")
    return status


def _means(args: argparse.Namespace) -> Means:
    validate.real("--time-limit", args.time_limit, "[0, inf]")
    data_root = args.data_root or os.environ.get("BBTHEORY_DATA") or None
    if data_root is not None and not Path(data_root).is_dir():
        raise ValueError(f"--data-root must be a folder, got {data_root!r}")
    return Means(
        args.results.resolve(),
        Path(data_root).resolve() if data_root else None,
        validate.integer("--jobs", args.jobs, "[1, inf)"),
        None,
        time.monotonic() + args.time_limit,
    )


def _presets(catalog: Catalog, name: str) -> list[str]:
    defined = catalog.defined(name)
    return [p for p in reversed(archive.PRESETS) if p == "full" or p.upper() in defined]


def _listing(catalog: Catalog, results: Path) -> str:
    """Return every experiment with its presets, the presets with a record, and its question."""
    rows = []
    for name in catalog.names:
        try:
            presets, question = _presets(catalog, name), catalog.summary(name)
        except ValueError as error:
            presets, question = [], str(error)
        there = [p for p in presets if any((results / name / p).glob("*.json"))]
        rows.append([name, " ".join(presets) or "none", " ".join(there) or "none", question])
    return format_table(["experiment", "presets", "records", "question"], rows)


def _show(catalog: Catalog, names: list[str], results: Path, preset: str | None) -> int:
    """Print the named experiments' records: of one preset, or of the best that is there."""
    found, status = _present(catalog, names, results, preset)
    for _, record in found:
        print(readable(record))
    return status


def _cost(catalog: Catalog, names: list[str], args: argparse.Namespace) -> int:
    """Print what the named experiments' records took."""
    jobs = validate.integer("--jobs", args.jobs, "[1, inf)")
    found, status = _present(catalog, names, args.results, args.preset)
    if found:
        print(cost_table(found, sorted({2, 16, jobs} - {1})))
    return status


def _present(
    catalog: Catalog, names: list[str], results: Path, preset: str | None
) -> tuple[list[tuple[ModuleType, archive.Archived]], int]:
    """Return each experiment's best record, or that of a preset; say on stderr which have none."""
    found, status = [], cli.ANSWERED
    for name in names:
        try:
            module = catalog.load(name)
            there = [r for r in archive.present(results, name, module) if preset in (None, r.preset)]
        except ValueError as error:
            status = _fail(f"{name}: {error}")
            continue
        if there:
            found.append((module, there[0]))
        else:
            wanted = f" --preset {preset}" if preset else ""
            print(f"{name}: no record yet: python -m experiments {name}{wanted}", file=sys.stderr)
    return found, status


def _fail(message: object) -> int:
    print(f"python -m experiments: {message}", file=sys.stderr)
    return cli.FAILED


def _short(path: Path) -> str:
    """Return a path as it is typed from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
