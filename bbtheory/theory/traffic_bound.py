"""The chain from information to traffic as one record: links, steps, how loose each step is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bbtheory.records import Record

# the chain: link -> (the field it is compared with, whether it must not exceed it, why)
STEPS: tuple[tuple[str, str, str], ...] = (
    ("information", "log_det", "inequality"),
    ("log_det", "trace", "inequality"),
    ("trace", "diagonal", "approximation"),
    ("diagonal", "traffic_form", "inequality"),
    ("trace", "corrected", "inequality"),
    ("corrected", "row_sum", "inequality"),
    ("information", "entropy", "inequality"),
    ("entropy", "coding_entropy", "inequality"),
)
BOUNDS = ("log_det", "trace", "corrected", "row_sum", "entropy", "coding_entropy")

ROUNDING = 1e-10  # relative: by how much rounding may seem to break an inequality that is an equality


@dataclass(frozen=True, eq=False)
class TrafficBound(Record):
    """Every link of the chain from information to traffic, in nats.

    Attributes
    ----------
    information : float
        I(h; y); NaN where no distribution was given.
    information_error : float
        See `MutualInformation`; NaN where no distribution was given.
    information_method : str
        ``"quadrature"``, ``"monte_carlo"`` or ``"none"``.
    log_det : float
        1/2 ln det(1 + W Cov W^T/sigma^2).
    trace : float
        tr(W Cov W^T)/(2 sigma^2).
    diagonal : float
        sum_i chi_i |w_i|^2/(2 sigma^2); no bound.
    traffic_form : float
        C/(2 sigma^2) sum_i a_i k_i; no bound.
    corrected : float
        lambda_max(R) times the form in traffic.
    row_sum : float
        (1 + max_i sum_{j != i} |rho_ij|) times the form in traffic.
    entropy : float
        H(h); NaN where no distribution was given.
    coding_entropy : float
        sum_i h(a_i).
    largest_eigenvalue, row_sum_eigenvalue : float
        lambda_max(R) and its bound by row sums.
    edge_energy : float
        C.
    noise_sd : float
    n_units, n_outputs : int
    """

    KIND: ClassVar[str] = "traffic_bound"
    UNITS: ClassVar[Mapping[str, str]] = {
        "link": "links",
        "next_link": "next_links",
        "step": "steps",
        "ratio": "ratios",
        "holds": "holds",
    }
    DERIVED: ClassVar[tuple[str, ...]] = ("bound", "binding")

    information: float
    information_error: float
    information_method: str
    log_det: float
    trace: float
    diagonal: float
    traffic_form: float
    corrected: float
    row_sum: float
    entropy: float
    coding_entropy: float
    largest_eigenvalue: float
    row_sum_eigenvalue: float
    edge_energy: float
    noise_sd: float
    n_units: int
    n_outputs: int

    @property
    def links(self) -> tuple[str, ...]:
        """Link of the chain at which each step starts."""
        return tuple(link for link, _, _ in STEPS)

    @property
    def next_links(self) -> tuple[str, ...]:
        """Link at which it ends."""
        return tuple(link for _, link, _ in STEPS)

    @property
    def steps(self) -> tuple[str, ...]:
        """What the step is: ``"inequality"`` or only an ``"approximation"``."""
        return tuple(step for _, _, step in STEPS)

    @property
    def ratios(self) -> np.ndarray:
        """How loose each step is, next link over link; below 1 an approximation fails as a bound."""
        low, high = self._ends()
        ratio = np.full(len(STEPS), np.nan)
        np.divide(high, low, out=ratio, where=low > 0)
        return ratio

    @property
    def holds(self) -> np.ndarray:
        """Whether link <= next link, up to rounding and 4 errors of the information; false if unknown."""
        low, high = self._ends()
        error = np.array([self.information_error if link == "information" else 0.0 for link in self.links])
        return low <= high * (1.0 + ROUNDING) + 4.0 * np.nan_to_num(error)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.array([getattr(self, link) for link in self.links]),
            np.array([getattr(self, link) for link in self.next_links]),
        )

    @property
    def bound(self) -> float:
        """The least of all true bounds, nats."""
        return float(np.nanmin([getattr(self, name) for name in BOUNDS]))

    @property
    def binding(self) -> str:
        """Which bound that is."""
        return BOUNDS[int(np.nanargmin([getattr(self, name) for name in BOUNDS]))]
