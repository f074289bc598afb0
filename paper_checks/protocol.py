"""What one check file holds, and the verdict it returns.

A check is one file ``paper_checks/NAME.py``; discovery does the rest. It holds

its docstring
    first line: what is judged; then the rule that decides. A question that the data raised says so, and is
    not decided by them.
``CLAIM``
    the claim in one sentence, as fairly as its authors would put it.
``PAPER``
    where the claim stands. The papers' numbers live in check files and nowhere else.
``SOURCES``
    the experiments whose records it judges; empty for a check of theory alone.
``OWN_THEORY = True``
    marks a claim of this package's own theory: its refutation is an error of ours, any other is a result.
``check(*results) -> CheckResult``
    judges the ``Result`` of each source. A claim that fails stays and says refuted.

Records that are absent or of smoke size only ever give undecided: the driver sees to that, not the check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bbtheory import validate
from bbtheory.records import Record

CONFIRMED, REFUTED, UNDECIDED = "confirmed", "refuted", "undecided"
VERDICTS = (CONFIRMED, REFUTED, UNDECIDED)


@dataclass(frozen=True, eq=False)
class CheckResult(Record):
    """The verdict on one claim.

    Parameters
    ----------
    claim, source : str
        The claim and where it stands.
    predicted : float, str or None
        What must be seen if the claim is true: a number or a condition in words.
    observed : float, str or None
        What was seen; None where nothing was.
    interval : tuple of float or None
        The interval of what was seen, its level in ``note``; None where there is none.
    verdict : str
        ``confirmed``, ``refuted`` or ``undecided``.
    note : str
        The reason, with n and the level of the interval.
    """

    KIND: ClassVar[str] = "check"

    claim: str
    source: str
    predicted: float | str | None
    observed: float | str | None
    interval: tuple[float, float] | None
    verdict: str
    note: str

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.choice("verdict", self.verdict, VERDICTS)
