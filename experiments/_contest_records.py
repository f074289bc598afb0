"""What a contest found: a record per network, rows over seeds, and the paper's claims one by one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory.fit.uncertainty import mean_low_high
from bbtheory.records import Record
from experiments._contest_settings import ABLATIONS, BB, Metric, cells
from experiments._contest_statistics import N_BINS, LayerStatistics

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
NOTE = (
    "intervals are Student's at 95 % over seeds, differences paired by seed; a claim is supported or "
    "contradicted where its interval excludes 0, one by one, without a correction for their number; where "
    "SP-in sets degrees by the balance, the line is imposed and r_squared no finding"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One trained network.

    Parameters
    ----------
    metric_names : tuple of str
    metrics, baseline : ndarray (n_metrics,)
        At the end, and of a trivial answer (NaN where none is stated).
    loss : ndarray (epochs,)
        Mean over the batches of each epoch, while the network was learning.
    density : float
        Reached; of top-k activations the share of units that may be active at once.
    worst_gap : float
        Largest distance of a layer from the density wanted, links; NaN where no weight is cut.
    n_refreshes, n_weights : int
    layers : tuple of LayerStatistics
        Before the first step and after the last one.
    """

    KIND: ClassVar[str] = "contest_cell"

    metric_names: tuple[str, ...]
    metrics: np.ndarray
    baseline: np.ndarray
    loss: np.ndarray
    density: float
    worst_gap: float
    n_refreshes: int
    n_weights: int
    layers: tuple[LayerStatistics, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Row(Record):
    """One method at one density, over seeds; layers are averaged with equal weight."""

    KIND: ClassVar[str] = "contest_row"
    MEASURED_IN: ClassVar[Mapping[str, str]] = {
        "worst_gap": "links", "entropy_before": "nats", "entropy": "nats"
    }  # fmt: skip

    method: str
    wanted: float
    density: float
    worst_gap: float  # links of a layer
    n: int
    main: float
    main_low: float
    main_high: float
    tail: float
    tail_low: float
    tail_high: float
    entropy_before: float  # nats per unit, before training
    entropy: float
    correlation_before: float  # mean |rho|
    correlation: float
    rank_before: float  # effective rank
    rank: float
    dead: float  # share of units never on
    r_squared: float  # of the balance, mean over layers
    verdicts: str


@dataclasses.dataclass(frozen=True, eq=False)
class MetricRow(Record):
    """One metric of one method at one density, with its paired differences to dense and to magnitude."""

    KIND: ClassVar[str] = "contest_metric"

    method: str
    wanted: float
    metric: str
    role: str
    baseline: float
    mean: float
    low: float
    high: float
    less_dense: float
    less_dense_low: float
    less_dense_high: float
    less_magnitude: float
    less_magnitude_low: float
    less_magnitude_high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Claim(Record):
    """A claim about a method at a density: its effect against a rival, positive in favour of the claim.

    ``n`` counts the seeds that both have a number of; others are left out.
    """

    KIND: ClassVar[str] = "contest_claim"

    claim: str
    method: str
    wanted: float
    against: str
    n: int
    effect: float
    low: float
    high: float
    verdict: str  # supported, contradicted or undecided


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """All networks of a contest.

    Parameters
    ----------
    rows : tuple of Row
    metrics : tuple of MetricRow
    claims : tuple of Claim
        tail gain: the tail metric against each rival and ablation at the same density; exceeds dense: the
        main metric;
        entropy up, correlation down: of the units against the dense network's and against magnitude's.
    worst_gap : float
        Largest distance of any layer of any network from its density, links.
    n_weights : int
        Of the masked layers.
    note : str
    pairs : ndarray (n_rows, 2, 20), optional
        Shares of the pairs of units by |rho| in equal bins from 0 to 1, before training and after, means over
        layers and seeds, NaN without a pair; None in earlier records.
    """

    KIND: ClassVar[str] = "contest"

    rows: tuple[Row, ...]
    metrics: tuple[MetricRow, ...]
    claims: tuple[Claim, ...]
    worst_gap: float
    n_weights: int
    note: str
    pairs: np.ndarray | None = None


class Contest:
    """The networks of a contest by method and density, each group in the order of the seeds."""

    def __init__(self, config: Any, records: Sequence[Cell], metrics: Sequence[Metric]):
        self.metrics = metrics
        self.groups: dict[tuple[str, float], list[Cell]] = {}
        for setting, cell in zip(cells(config), records, strict=True):
            self.groups.setdefault((setting.methods[0], setting.densities[0]), []).append(cell)

    def values(self, method: str, density: float, of: Callable[[Cell], float]) -> np.ndarray:
        """Return a number of each network of a method, one per seed; nothing where there is none."""
        found = self.groups.get((method, 1.0 if method == "dense" else density), [])
        return np.array([of(cell) for cell in found])

    def differences(self, method: str, density: float, rival: str, of: Callable[[Cell], float]) -> np.ndarray:
        """Return the difference to a rival of each seed; NaN without one, or where neither is finite."""
        own, other = (self.values(name, density, of) for name in (method, rival))
        if not other.size or method == rival:
            return np.full(1, np.nan)
        with np.errstate(invalid="ignore"):
            return own - other

    def role(self, role: str) -> Metric | None:
        """Return the first metric of a role."""
        return next((metric for metric in self.metrics if metric.role == role), None)


def collect(config: Any, records: Sequence[Cell], metrics: Sequence[Metric]) -> Result:
    """Average over seeds, set methods against each other, and judge the claims."""
    contest = Contest(config, records, metrics)
    pairs = list(contest.groups)
    return Result(
        rows=tuple(_row(contest, method, density) for method, density in pairs),
        metrics=tuple(_metric_row(contest, *pair, metric) for pair in pairs for metric in metrics),
        claims=tuple(claim for pair in pairs if _is_bb(pair[0]) for claim in _claims(contest, *pair)),
        worst_gap=max((c.worst_gap for c in records if not math.isnan(c.worst_gap)), default=math.nan),
        n_weights=records[0].n_weights,
        note=NOTE,
        pairs=_pairs(contest),
    )


def _is_bb(method: str) -> bool:
    return method in BB or method in ABLATIONS


def of_metric(name: str) -> Callable[[Cell], float]:
    """Return what reads a metric of a network."""
    return lambda cell: float(cell.metrics[cell.metric_names.index(name)])


def of_layers(name: str) -> Callable[[Cell], float]:
    """Return what averages a number over the layers of a network that have it."""

    def read(cell: Cell) -> float:
        values = [getattr(layer, name) for layer in cell.layers]
        values = [value for value in values if not math.isnan(value)]
        return sum(values) / len(values) if values else math.nan

    return read


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean and its Student interval at 95 %; NaN is left out, one infinite value is the mean."""
    if np.isinf(values).any():  # a network that broke down must not better the mean of the others
        with np.errstate(invalid="ignore"):
            return float(np.nansum(values)), math.nan, math.nan
    return mean_low_high(values)


def _row(contest: Contest, method: str, density: float) -> Row:
    group = contest.groups[method, density]
    by_role = {}
    for role in ("main", "tail"):
        metric = contest.role(role)
        values = np.full(1, np.nan)
        if metric is not None:
            values = contest.values(method, density, of_metric(metric.name))
        by_role |= dict(zip((role, f"{role}_low", f"{role}_high"), interval(values), strict=True))
    names = ("entropy_before", "entropy", "correlation_before", "correlation", "rank_before", "rank")
    layers = {
        name: interval(contest.values(method, density, of_layers(name)))[0] for name in (*names, "r_squared")
    }
    verdicts = [layer.verdict for cell in group for layer in cell.layers]
    dead = [layer.n_dead / layer.n_units for cell in group for layer in cell.layers]
    return Row(
        method=method,
        wanted=density,
        density=float(np.mean([cell.density for cell in group])),
        worst_gap=max((c.worst_gap for c in group if not math.isnan(c.worst_gap)), default=math.nan),
        n=len(group),
        dead=float(np.mean(dead)) if dead else math.nan,
        verdicts=", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts))),
        **by_role,
        **layers,
    )


def _pairs(contest: Contest) -> np.ndarray | None:
    """Return the mean histograms of |rho| of each row, None if some network was trained without them."""
    rows = []
    for group in contest.groups.values():
        layers = [layer for cell in group for layer in cell.layers]
        for name in ("pairs_before", "pairs"):
            counts = [getattr(layer, name) for layer in layers]
            if any(count is None for count in counts):
                return None
            shares = [count / count.sum() for count in counts if count.any()]
            rows.append(np.mean(shares, axis=0) if shares else np.full(N_BINS, np.nan))
    return np.reshape(rows, (-1, 2, N_BINS))


def _metric_row(contest: Contest, method: str, density: float, metric: Metric) -> MetricRow:
    of = of_metric(metric.name)
    first = contest.groups[method, density][0]
    return MetricRow(
        method,
        density,
        metric.name,
        metric.role,
        float(first.baseline[first.metric_names.index(metric.name)]),
        *interval(contest.values(method, density, of)),
        *interval(contest.differences(method, density, "dense", of)),
        *interval(contest.differences(method, density, "magnitude", of)),
    )


def _claims(contest: Contest, method: str, density: float) -> list[Claim]:
    """Return the claims about a method, each against every rival there is."""
    # against its ablations a method of ours shows what the on-rates add
    rivals = [m for m, d in contest.groups if d == density and m not in BB and m != method]
    asked: list[tuple[str, Callable[[Cell], float], float, list[str]]] = []
    for role, claim, against in (("tail", "tail gain", rivals), ("main", "exceeds dense", ["dense"])):
        metric = contest.role(role)
        if metric is not None:
            sign = 1.0 if metric.higher_is_better else -1.0
            asked.append((claim, of_metric(metric.name), sign, against))
    asked.append(("entropy up", of_layers("entropy"), 1.0, ["dense", "magnitude"]))
    asked.append(("correlation down", of_layers("correlation"), -1.0, ["dense", "magnitude"]))
    found = []
    for claim, of, sign, against in asked:
        for rival in against:
            if contest.values(rival, density, of).size:
                differences = sign * contest.differences(method, density, rival, of)
                n = int(np.isfinite(differences).sum())
                effect, low, high = interval(differences)
                found.append(Claim(claim, method, density, rival, n, effect, low, high, judge(low, high)))
    return found


def judge(low: float, high: float) -> str:
    """Return what an interval of an effect says of a claim; an interval that is NaN says nothing."""
    return SUPPORTED if low > 0 else CONTRADICTED if high < 0 else UNDECIDED
