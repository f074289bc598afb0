"""Records of contests with made-up numbers, of the size of a real preset: nothing is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bbtheory import archive
from bbtheory.catalog import Catalog
from experiments._contest_records import Result
from experiments._contest_statistics import LayerStatistics

# the best of each metric, so that made-up numbers are of its size
SIZES = {"perplexity": 6.0, "perplexity_tail": 9.0, "perplexity_middle": 7.0, "perplexity_head": 5.0}


def contest_result(name: str, preset: str = "cpu") -> Result:
    """Return the result of a contest's preset on made-up cells."""
    module = Catalog("experiments").load(name)
    config = archive.settings(module, preset)
    names = tuple(metric.name for metric in module.METRICS)
    rng = np.random.default_rng(0)
    found = []
    for cell in module.cells(config):
        density, method = cell.densities[0], cell.methods[0]
        worse = 0.05 * len(method) / 10 + 0.2 * (1.0 - density)
        size = np.array([SIZES.get(metric, 0.9) for metric in names])
        layer = LayerStatistics(
            layer="fc1", n_units=64, n_samples=100, on_rate=0.3, n_dead=2, entropy_before=0.6,
            entropy=0.5 + 0.1 * rng.random(), correlation_before=0.2, correlation=0.2 + 0.2 * worse + 0.05 * rng.random(),
            rank_before=20.0, rank=15.0, degree_kind="fan_in", slope=0.1, r_squared=0.9, verdict="balanced",
        )  # fmt: skip
        found.append(
            module.Cell(
                metric_names=names,
                metrics=size * (1.0 - worse + 0.02 * rng.standard_normal(len(names))),
                baseline=0.2 * size,
                loss=np.ones(config.epochs),
                density=density,
                worst_gap=1.0,
                n_refreshes=3,
                n_weights=123_456,
                layers=(layer,),
            )
        )
    return module.collect(config, found)


def write_contest(root: Path, name: str, preset: str = "cpu") -> Path:
    """Write such a record into an archive; return its path."""
    config = archive.settings(Catalog("experiments").load(name), preset)
    path = archive.record_path(root, name, preset, config)
    provenance = dict.fromkeys(("commit", "dirty", "date", "device", "hash"), "made up")
    record = archive.Archived(
        path, name, preset, archive.OK, archive.seeds_of(config), contest_result(name, preset), provenance
    )
    archive.write(record)
    return path
