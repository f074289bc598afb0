"""Pruned in one shot, does a language model keep rare words better by the rule than by Wanda?

Rule: feed-forward links of a trained decoder, cut freely at the recorded density nearest to the paper's. The
effect is the paired difference over models of perplexity on rare words, the rule less Wanda. Confirmed if its
95 % interval lies below 0, refuted if above, undecided otherwise. The paper's ratio is in the note: models of
this size need not repeat it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

if TYPE_CHECKING:
    from experiments.one_shot_language_model import Result

CLAIM = (
    "At 70 % sparsity in one shot Budgeted Broadcast keeps far lower perplexity on rare tokens than Wanda."
)
PAPER = (
    "arXiv 2510.01263, revised version, table 2 as a review reports it: Llama-3.1-8B, WikiText-2, rare "
    "tokens, 68.69 against 2782.85, no error bars; a small decoder here"
)
SOURCES = ("one_shot_language_model",)

DENSITY = 0.3
CLAIMED = (68.69, 2782.85)
RULE, RIVALS = "bb", ("wanda", "magnitude", "sparse_gpt", "bb_wanda")


def check(result: Result) -> CheckResult:
    """Compare the rule with Wanda on rare words."""
    free = [row for row in result.rows if row.part == "ffn" and row.pattern == "free"]
    own = min((row for row in free if row.method == RULE), key=lambda row: abs(row.wanted - DENSITY))
    others = {row.method: row.tail for row in free if row.wanted == own.wanted and row.method in RIVALS}
    low, high = own.tail_less_rival_low, own.tail_less_rival_high
    each = ", ".join(f"{name} {tail:.1f}" for name, tail in others.items())
    return CheckResult(
        claim=CLAIM,
        source=PAPER,
        predicted="below 0",
        observed=own.tail_less_rival,
        interval=(low, high),
        verdict=CONFIRMED if high < 0 else REFUTED if low > 0 else UNDECIDED,
        note=(
            f"perplexity on rare words less Wanda's, density {own.wanted:g}, paired, 95 %, n = {own.n} "
            f"models of a small decoder: {own.tail:.1f}, against {each}. The paper's ratio to Wanda: "
            f"{CLAIMED[0] / CLAIMED[1]:.3f}"
        ),
    )
