"""What a unit does at a refresh, and how it sees itself: local rules of a simulated population.

Every rule uses what a unit has at hand: the estimate of its own on-rate, its own links, and at most one
number that is the same for all units (a threshold, a slope, a price). None knows an equilibrium.
"""

from __future__ import annotations

from dataclasses import dataclass

from bbtheory import validate

ACTUATORS = ("sp_in", "sp_out", "both")
ANSWERS = ("on_rate", "degree")
DEGREES = "[0, 1e6]"  # links are cut one by one


@dataclass(frozen=True)
class Threshold:
    """Cut the weakest link while traffic exceeds a threshold, a_i k_i > tau.

    SP-out cuts outgoing links, which the traffic feels at once: a refresh cuts until a k <= tau. SP-in cuts
    incoming links, which it feels only after the on-rate has answered: a refresh cuts one. Without regrowth
    this is a ratchet. With regrowth links are chosen anew from the full row: SP-out starts each refresh from
    all links, SP-in takes one back where the traffic is within the threshold.

    Parameters
    ----------
    threshold : float
        tau > 0, links per step.
    regrow : bool

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263; what SP-in does within one refresh is this project's reading.
    """

    threshold: float
    regrow: bool = False

    def __post_init__(self) -> None:
        validate.real("threshold", self.threshold, "(0, inf)")
        validate.instance("regrow", self.regrow, bool)


@dataclass(frozen=True)
class Controller:
    """Set the degree from the log-odds, k_i = clip(d0 + L(a_i)/beta, m, D).

    Parameters
    ----------
    beta : float
        Slope > 0, nats per link.
    d0 : float
        Degree of a unit that is on half of the time, links.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263, the degree controller.
    """

    beta: float
    d0: float = 0.0

    def __post_init__(self) -> None:
        validate.real("beta", self.beta, "(0, inf)")
        validate.real("d0", self.d0)


@dataclass(frozen=True)
class PriceAdjustment:
    """Let a price of traffic rise while the population exceeds its budget, and units answer to it.

    At each refresh the excess e = sum_i a_i k_i / T - 1 moves the price, and every unit then answers to it

    on_rate: beta' = max(0, beta + rate e), dual ascent; each unit moves its excitability by
        z' = z + answer_rate (L(a_i) - beta k_i), up its own gradient of h(a_i) - beta a_i k_i (times a factor
        da/dz > 0, which moves no fixed point), by at most one standard deviation of its input. Links stay,
        whatever the actuator.
    degree: beta' = beta exp(min(rate e, 1)), which keeps the slope above zero; each unit sets its degree as
        under `Controller`. Excitabilities stay.

    Dual ascent on the degree form settles where traffic falls with beta, as it does for on-rates below 1/2.

    Parameters
    ----------
    budget : float
        T > 0, links per step, of the whole population.
    answer : {"on_rate", "degree"}
    rate : float
        Rise of the price per refresh and unit of relative excess: > 0; nats per link (on_rate), a pure number
        (degree). Too high a rate makes the price oscillate.
    answer_rate : float
        In (0, 1], per refresh; on_rate only.
    d0 : float
        Degree at on-rate 1/2, links; degree only.
    first_price : float
        beta of the first refresh, nats per link: >= 0 (on_rate), > 0 (degree).

    References
    ----------
    This project's construction: the gradient of the Lagrangian of arXiv 2510.01263, taken locally.
    """

    budget: float
    answer: str = "on_rate"
    rate: float = 0.01
    answer_rate: float = 0.1
    d0: float = 0.0
    first_price: float = 0.1

    def __post_init__(self) -> None:
        validate.real("budget", self.budget, "(0, inf)")
        validate.choice("answer", self.answer, ANSWERS)
        validate.real("rate", self.rate, "(0, inf)")
        validate.real("answer_rate", self.answer_rate, "(0, 1]")
        validate.real("d0", self.d0)
        validate.real("first_price", self.first_price, "[0, inf)" if self.answer == "on_rate" else "(0, inf)")


Rule = Threshold | Controller | PriceAdjustment


@dataclass(frozen=True)
class PopulationSettings:
    """How a population is refreshed and observed.

    Parameters
    ----------
    actuator : {"sp_in", "sp_out", "both"}
        Whose links the rule sets: the unit's fan-in, which moves its on-rate; its fan-out, which does not.
    interval : int
        Delta, steps between refreshes, 1 to 1e9.
    batch : int
        Independent samples a step, at most 1e9; 0: the on-rate itself is seen, without noise.
    ema_decay : float
        d in [0, 1), per step. The average starts empty and its bias is corrected.
    burn_in : int
        Steps before the first refresh, 0 to 1e9.
    min_degree, max_degree : float
        m, D: 0 <= m <= D, 0 < D <= 1e6, links.
    whole : bool
        Whether degrees are rounded to whole links.
    recovery : float
        Steps >= 0 in which the on-rate covers all but 1/e of its way to where its links lead it; 0: at once.
    kept_share : float
        Where a rule sets degrees with both actuators: part in (0, 1] of the links a unit chooses that the
        units at their other ends choose too, so that they survive.
    """

    actuator: str = "sp_out"
    interval: int = 50
    batch: int = 128
    ema_decay: float = 0.98
    burn_in: int = 200
    min_degree: float = 0.0
    max_degree: float = 64.0
    whole: bool = True
    recovery: float = 0.0
    kept_share: float = 1.0

    def __post_init__(self) -> None:
        validate.choice("actuator", self.actuator, ACTUATORS)
        validate.integer("interval", self.interval, "[1, 1e9]")
        validate.integer("batch", self.batch, "[0, 1e9]")
        validate.real("ema_decay", self.ema_decay, "[0, 1)")
        validate.integer("burn_in", self.burn_in, "[0, 1e9]")
        top = validate.real("max_degree", self.max_degree, "(0, 1e6]")
        if validate.real("min_degree", self.min_degree, "[0, inf)") > top:
            raise ValueError(f"min_degree must be at most max_degree {top:g}, got {self.min_degree:g}")
        validate.instance("whole", self.whole, bool)
        validate.real("recovery", self.recovery, "[0, inf)")
        share = validate.real("kept_share", self.kept_share, "(0, 1]")
        if share != 1 and self.actuator != "both":
            raise ValueError(
                f"kept_share must be 1 unless the actuator is both, got {share:g} with {self.actuator}"
            )
