"""The six pictures of the README: drawn from the tracked records, captioned with n and the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bbtheory import archive
from bbtheory.catalog import Catalog
from figures._build import DRAWN, Build
from paper_checks._driver import Judged

FOLDER = Path(__file__).resolve().parent / "gallery"


@dataclass(frozen=True)
class Shown:
    """One picture: what it shows to those who do not see it, what was measured, and which checks judge it."""

    name: str
    alt: str
    measured: str
    checks: tuple[str, ...] = ()


GALLERY = (
    Shown(
        "balance_xor",
        "Log-odds against fan-out. Units pruned by the threshold lie along a hyperbola and above it, those "
        "of the controller on its line, those pruned at random nowhere in particular; a fourth panel counts"
        " the units within one link of either law.",
        "Units of networks that learned XOR: the threshold leads to a hyperbola, the line is what the "
        "controller puts in",
        (
            "threshold_rule_is_a_hyperbola",
            "controller_imposes_the_line",
            "line_emerges_on_xor",
        ),
    ),
    Shown(
        "rare_features",
        "Left: traffic of detectors of rare and common terms against the threshold, with the predicted "
        "staircases. Right: the share of rare terms recognised; below a threshold of 1 Budgeted Broadcast "
        "loses terms as its rivals do.",
        "Rare terms of a DNF that a network still recognises, beside rivals at the same density",
        (
            "rare_units_stay_under_tau",
            "rare_term_survives",
        ),
    ),
    Shown(
        "refresh_stability",
        "Left: loop gain against refresh interval with the predicted boundaries and the measured crossings "
        "on them. Middle: what is left of a kick after a refresh falls with the interval, below 0 and below"
        " -1. Right: churn of links, largest at interval 1 and where the refresh runs away.",
        "When a refresh settles, alternates or runs away: the longer interval is the less stable one",
        (
            "refresh_flip_intervals",
            "short_refresh_oscillates",
        ),
    ),
    Shown(
        "tail_gains",
        "A panel for each task: differences between Budgeted Broadcast and its rivals on what is rare, with"
        " intervals; most of them contain 0.",
        "What Budgeted Broadcast gains on what is rare, task by task, beside rivals at the same density, "
        "paired by seed; most intervals contain 0",
        (
            "tail_gain_on_images",
            "tail_gain_on_speech",
            "tail_gain_on_identities",
            "tail_gain_on_changes",
            "tail_gain_on_synapses",
            "tail_gain_on_text",
        ),
    ),
    Shown(
        "density_pressure",
        "Left: measured densities on the predicted curve, which is straight over a decade and a half of "
        "pressure. Middle: where the first region ends falls with the exponent, as predicted, and is not 50"
        " %. Right: exponents of three optimizers on the predicted line.",
        "Density under pressure where nothing knows the law: it is met, and its first region has no fixed "
        "edge",
        (
            "density_follows_flux",
            "exponent_is_one_over_p",
            "region_starts_at_half",
        ),
    ),
    Shown(
        "static_null",
        "Density against the largest removed magnitude of random numbers, on log axes: the Student-t sample"
        " is nearly a straight line all the same.",
        "Numbers that no network trained, pruned by size: nearly a power law all the same",
        ("r_squared_is_evidence",),
    ),
)


def draw(name: str, out: Path) -> bytes:
    """Draw a figure from the tracked records as ``python -m figures`` does; return the picture."""
    built = Build("figures", "experiments", name, archive.RESULTS, out, "svg", anew=True)()
    if built.status != DRAWN:
        raise RuntimeError(f"{name}: {built.detail}")
    return (out / f"{name}.svg").read_bytes()


def n_seeds(name: str) -> int:
    """Return over how many seeds the records of a picture were made; they must agree."""
    experiments = Catalog("experiments")
    sources = Catalog("figures").load(name).SOURCES
    found = [archive.best(archive.RESULTS, source, experiments.load(source)) for source in sources]
    numbers = {len(record.seeds) for record in found if record is not None}
    if len(numbers) != 1:
        raise RuntimeError(f"{name}: one caption cannot tell the n of records with {sorted(numbers)} seeds")
    return numbers.pop()


def captions(folder: str, checks: Sequence[Judged]) -> str:
    """Return pictures and captions as Markdown; ``folder`` is where the page finds them."""
    verdicts = {each.name: each.result.verdict for each in checks if each.result is not None}
    parts = []
    for shown in GALLERY:
        judged = ", ".join(f"`{name}` **{verdicts[name]}**" for name in shown.checks)
        says = f"{shown.measured}; n = {n_seeds(shown.name)} seeds. {judged + '.' if judged else ''}"
        parts += [f"![{shown.alt}]({folder}/{shown.name}.svg)", says.strip()]
    return "\n\n".join(parts)
