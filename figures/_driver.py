"""The command line of ``python -m figures``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bbtheory import archive, cli, validate
from bbtheory.catalog import Catalog

if TYPE_CHECKING:
    from figures._build import Build, Built

PICTURES = ("svg", "pdf", "png")
OUT = archive.RESULTS.parent / "build" / "figures"


def main(
    argv: Sequence[str] | None = None, package: str = "figures", experiments: str = "experiments"
) -> int:
    """Run the command line on the figures of ``package``, drawn from the records of ``experiments``."""
    parser = cli.make_parser(
        "python -m figures",
        "Draw figures from the records that are there; without a name, every figure that is stale.",
        ["python -m figures", "python -m figures static_null --format pdf --out pictures"],
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="figures to draw even if nothing has changed, or all")
    add("--out", type=Path, default=OUT, metavar="D", help="folder of the pictures (default: build/figures)")
    add("--results", type=Path, default=archive.RESULTS, metavar="D", help="the archive (default: results)")
    add("--format", choices=PICTURES, default="svg", help="of the pictures (default: svg)")
    cores = os.cpu_count() or 1
    add("--jobs", type=int, default=cores, metavar="N", help="processes that draw (default: one per core)")
    return cli.run(parser, lambda args: _body(args, package, experiments), argv)


def _body(args: argparse.Namespace, package: str, experiments: str) -> int:
    from figures._build import DRAWN, FRESH, NO_RECORD, Build  # matplotlib: not for --help

    names = Catalog(package).choose(args.names or ["all"])
    jobs = validate.integer("--jobs", args.jobs, "[1, inf)")
    args.out.mkdir(parents=True, exist_ok=True)
    builds = [
        Build(package, experiments, name, args.results, args.out, args.format, bool(args.names))
        for name in names
    ]
    asked = set(args.names)
    status = cli.ANSWERED
    for built in tqdm(_each(builds, jobs), total=len(builds), desc="figures", disable=None, leave=False):
        if built.status in (DRAWN, FRESH):
            files = f"{built.name}.{args.format}, {built.name}.csv"
            tqdm.write(f"{built.name}  {built.status} from {built.detail}  {files}", file=sys.stdout)
        else:
            tqdm.write(f"python -m figures: {built.name}: {built.detail}", file=sys.stderr)
            # a figure that waits for its experiment is an error only to those who asked for it
            if built.status != NO_RECORD or built.name in asked:
                status = cli.FAILED
    return status


def _each(builds: Sequence[Build], jobs: int) -> Iterator[Built]:
    if min(jobs, len(builds)) == 1:
        return (build() for build in builds)
    from joblib import Parallel, delayed

    workers: Any = Parallel(jobs, return_as="generator")
    return workers(delayed(build)() for build in builds)
