"""Do walks end where they began? Judged by records; always refuted where it may be."""

from paper_checks.protocol import REFUTED, CheckResult

CLAIM = "Walks end at zero | always."
PAPER = "nowhere"
SOURCES = ("walk",)


def check(result):
    final = result.final
    return CheckResult(CLAIM, PAPER, 0.0, float(final[0]), (final.min(), final.max()), REFUTED, "n = 4")
