"""A claim of our own theory, without records; TOY_REFUTED breaks it."""

import os

from paper_checks.protocol import CONFIRMED, REFUTED, CheckResult

CLAIM = "One and one are two."
PAPER = "this project"
SOURCES = ()
OWN_THEORY = True


def check():
    verdict = REFUTED if "TOY_REFUTED" in os.environ else CONFIRMED
    return CheckResult(CLAIM, PAPER, 2.0, 2.0, None, verdict, "counted")
