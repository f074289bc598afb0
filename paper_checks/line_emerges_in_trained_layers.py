"""Do degrees become a line in log-odds in the layers of LeNet-300-100 under the traffic threshold alone?

Rule: a group is an actuator, a layer and a threshold tau; on-rates are measured afresh on the test images,
the fit is `bbtheory.fit_balance`, and a group goes to the law that most of its networks show, of those that
show one. Confirmed if the 95 % interval (Clopper and Pearson, groups taken for independent) of the share of
groups that go to the line lies above one half; refuted if below; undecided otherwise, or if shuffled degrees
show a law in more than 5 %. Networks whose degrees the controller sets are not judged: there the line is put
in. A line in networks pruned by other rules would be no evidence either: the note says in how many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.lenet_density import BalanceRow, Result

CLAIM = "Layers of a trained network under the traffic budget settle on the selectivity-audience balance."
PAPER = "arXiv 2510.01263, the balance; reviewers asked for it beyond XOR, in real layers"
SOURCES = ("lenet_density",)

THRESHOLD = ("threshold_in", "threshold_out")
OTHERS = ("magnitude", "magnitude_global", "set", "rigl", "random")
BY_CHANCE = 0.05


def check(result: Result) -> CheckResult:
    """Count the groups that go to the line and to the hyperbola."""
    line, hyperbola = tally(row for row in result.balance if row.method in THRESHOLD)
    n = line + hyperbola
    low, high = proportion_interval(line, n)
    found = result.n_shuffled_found / max(result.n_shuffled, 1)
    verdict = UNDECIDED
    if n and found <= BY_CHANCE:
        if low > 0.5:
            verdict = CONFIRMED
        elif high < 0.5:
            verdict = REFUTED
    rivals, rival_hyperbolas = tally(row for row in result.balance if row.method in OTHERS)
    n_rivals = sum(row.method in OTHERS for row in result.balance)
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="a share of groups above one half",
        observed=line / n if n else None,
        interval=(low, high) if n else None,
        verdict=verdict,
        note=(
            f"{line} of {n} groups go to the line, {hyperbola} to the hyperbola a k = tau; 95 %. Under "
            f"rivals, which know no traffic: {rivals} lines and {rival_hyperbolas} hyperbolas in {n_rivals} "
            f"groups. Shuffled degrees show a law in {result.n_shuffled_found} of {result.n_shuffled} fits"
        ),
    )


def tally(rows: Iterable[BalanceRow]) -> tuple[int, int]:
    """Return how many groups most of whose networks show a line, and a hyperbola."""
    lines = hyperbolas = 0
    for row in rows:
        counts: dict[str, int] = {"balanced": 0, "hyperbolic": 0}
        for part in filter(None, row.test_verdicts.split(", ")):
            number, verdict = part.split()
            counts[verdict] = int(number)
        laws = counts["balanced"] + counts["hyperbolic"]
        if 2 * laws > sum(counts.values()):  # most networks show a law
            lines += counts["balanced"] > counts["hyperbolic"]
            hyperbolas += counts["hyperbolic"] > counts["balanced"]
    return lines, hyperbolas


def proportion_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a proportion by Clopper and Pearson, Biometrika 26 (1934) 404."""
    from scipy.special import betaincinv

    miss = 0.5 * (1.0 - level)
    low = float(betaincinv(hits, n - hits + 1, miss)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1.0 - miss)) if hits < n else 1.0
    return low, high
