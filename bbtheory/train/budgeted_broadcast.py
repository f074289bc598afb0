"""Budgeted Broadcast: each unit's degree follows from how often it is on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train import rule as rules
from bbtheory.train.degrees import IN, OUT, Side, both_actuators, one_actuator
from bbtheory.train.pruner import Pruner
from bbtheory.train.rescaling import FORMS, Rescaling
from bbtheory.train.sharding import placed, whole

if TYPE_CHECKING:
    from bbtheory.train.masking import MaskedWeight
    from bbtheory.train.unit_report import PruningReport

_GROWTH = ("random", "gradient")
# scores of live weights lie above the first, of others below the second; float32 holds both
_ALIVE, _DEAD = 1e-30, 1e-31
_ASCENT_RATE = 2.0  # per refresh, in ln(1/beta); traffic answers with an elasticity well below 1


class BudgetedBroadcast(Pruner):
    """Degrees from on-rates, k_i = clip(d0 + L(a_i)/beta, m, D), L(a) = ln((1-a)/a), links by magnitude.

    A unit keeps the k_i largest weights of its full row (SP-in) or column (SP-out); cut ones compete again
    with the values they had. SP-in sets a unit's fan-in from its own on-rate, SP-out its fan-out from its own
    on-rate (the source leaves open which degree goes with which); both keep the links that both keep, at one
    common d0. At every refresh d0 is solved so that the density is met within one link. Units without an
    on-rate (of the output layer, raw inputs) get uniform degrees.

    Parameters
    ----------
    model, density, interval, warmup and others : see `Pruner`
        ``density`` must be left out under the threshold rule, where it emerges. ``allocation`` is "network"
        (one d0 for all layers) or "layer".
    sp_in, sp_out : bool
        Actuators; at least one.
    rule : {"balance", "activity", "equal_traffic", "uniform", "threshold"}
        The formulas are in rule.py; the middle three are ablations.
    beta : float or "auto"
        Slope > 0 in nats per link. "auto" finds it by dual ascent on 1/beta until the traffic sum a_i k_i of
        the controlled degrees meets its budget.
    traffic_budget : float, optional
        Links per step, > 0; ``traffic_share`` of the traffic of uniform degrees if not given.
    traffic_share : float
        In (0, 1).
    tau : float
        Traffic per unit above which the threshold rule cuts, links per step, > 0.
    min_degree : int
        The floor m of units with an on-rate, links.
    silent_below : float
        Units of a smaller on-rate get the degree that goes with the mean log-odds of the others under the
        same d0, in [0, 1/2). At 0, the published rule, units that died have the largest degrees of all and
        at low densities take most of the links; 0.01 kept networks alive that it ended.
    growth : {"random", "gradient"}
        How links return where dormant="zero": at random, or those of the largest gradient.
    rescale : None or {"weight", "incremental", "forward"}
        See rescaling.py.

    Raises
    ------
    ValueError
        If an argument is outside its domain, ``min_degree`` leaves no room for the density, or no on-rate is
        found that controls a degree.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263: the rule, both actuators, the refresh. Matching the density, the
    intersection at one d0 and the dual ascent are this project's.
    """

    uses_activity = True

    def __init__(
        self,
        model: nn.Module,
        density: float | None = None,
        *,
        sp_in: bool = True,
        sp_out: bool = False,
        rule: str = "balance",
        beta: float | str = "auto",
        traffic_budget: float | None = None,
        traffic_share: float = 0.9,
        tau: float | None = None,
        min_degree: int = 0,
        silent_below: float = 0.0,
        growth: str = "random",
        rescale: str | None = None,
        allocation: str = "network",
        **settings: Any,
    ):
        for name, value in (("sp_in", sp_in), ("sp_out", sp_out)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
        if not (sp_in or sp_out):
            raise ValueError("sp_in or sp_out must be True, got neither")
        self.kinds = tuple(kind for kind, wanted in ((IN, sp_in), (OUT, sp_out)) if wanted)
        self.rule = validate.choice("rule", rule, (*rules.RULES, rules.THRESHOLD))
        if isinstance(beta, str) and beta != "auto":
            raise ValueError(f"beta must be a number in (0, inf) or 'auto', got {beta!r}")
        self.automatic = isinstance(beta, str)
        self.beta = None if isinstance(beta, str) else validate.real("beta", beta, "(0, inf)")
        self.traffic_budget = None if traffic_budget is None else validate.real(
            "traffic_budget", traffic_budget, "(0, inf)"
        )  # fmt: skip
        self.traffic_share = validate.real("traffic_share", traffic_share, "(0, 1)")
        self.min_degree = validate.integer("min_degree", min_degree, "[0, inf)")
        self.silent_below = validate.real("silent_below", silent_below, "[0, 0.5)")
        self.growth = validate.choice("growth", growth, _GROWTH)
        validate.choice("allocation", allocation, ("network", "layer"))
        if (self.rule == rules.THRESHOLD) != (tau is not None):
            raise ValueError(
                f"tau must be given under the rule 'threshold' and no other, got {tau} under {rule!r}"
            )
        if (self.rule == rules.THRESHOLD) != (density is None):
            raise ValueError(
                f"density must be given, but not under the rule 'threshold', got {density} under {rule!r}"
            )
        self.tau = None if tau is None else validate.real("tau", tau, "(0, inf)")
        self.d0 = float("nan")
        self._told = False  # of a traffic budget out of reach
        self.rescale = rescale
        self.rescaling: Rescaling | None = None
        super().__init__(model, 1.0 if density is None else density, allocation=allocation, **settings)
        dormant = next(iter(self.weights.values())).dormant
        self.needs_gradient = dormant is None and growth == "gradient"
        with self._or_removed():
            self._check_seen()
            self._check_floor()
            if rescale is not None:
                dims = {name: self.graph[name].unit_dim for name in self.weights}
                self.rescaling = Rescaling(validate.choice("rescale", rescale, FORMS), self.weights, dims)

    @property
    def degree_kind(self) -> str:
        """The degree that is set from a unit's own on-rate: fan_in, fan_out or both."""
        return self.kinds[0] if len(self.kinds) == 1 else "both"

    @property
    def by_row(self) -> bool:
        """Whether each row is chosen by itself: SP-in without a rescale."""
        return self.kinds == (IN,) and self.rescale is None

    # -- a refresh

    def scores(self) -> dict[str, torch.Tensor]:
        """Score of each link, compared by its size: the weight, or sum |w| over a kernel.

        Where cut weights are forgotten, they rank below all others.
        """
        return {name: self._score(name, weight) for name, weight in self.weights.items()}

    def choose(self) -> dict[str, torch.Tensor]:
        """Masks of this refresh."""
        sides = self.sides()
        if self.rule == rules.THRESHOLD:
            return self._cut_over_threshold(sides)
        if self.beta is None:
            self.beta = self._first_beta(sides)
        masks: dict[str, torch.Tensor] = {}
        names = list(self.weights)
        density = self.wanted_density
        traffic = 0.0
        for group in [names] if self.allocation == "network" else [[name] for name in names]:
            both = [side for name in group for side in sides[name]]
            if len(self.kinds) == 2:
                pairs = [(sides[name][0], sides[name][1]) for name in group]
                chosen, self.d0 = both_actuators(pairs, density, self._line, self.min_degree, self.d0)
                degrees = [side.degrees(chosen[i // 2]) for i, side in enumerate(both)]
            else:
                degrees, self.d0 = one_actuator(both, density, self._line, self.min_degree)
                chosen = [side.mask(k) for side, k in zip(both, degrees, strict=True)]
            masks |= dict(zip(group, chosen, strict=True))
            traffic += sum(side.traffic(k) for side, k in zip(both, degrees, strict=True))
        if self.automatic:
            self._ascend(sides, traffic)
        return masks

    def apply(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks in place, rescaled if asked for."""
        if self.rescaling is None:
            super().apply(masks)
            return
        for name, mask in masks.items():
            self.rescaling.apply(name, mask)

    def sides(self) -> dict[str, list[Side]]:
        """The controlled sides of every weight with their on-rates and scores."""
        seen = {n: rules.resolved(s, k) for n, (s, k) in self.statistics().items() if k > 0}
        own = self.scores() if type(self).scores is not BudgetedBroadcast.scores else None
        found: dict[str, list[Side]] = {}
        for name, weight in self.weights.items():
            found[name] = []
            # weights that compete by their size are read where they lie, beside their dormant values
            apart = own is None and weight.can_exchange and not weight.by_channel
            other = weight.dormant if apart else None
            score = weight.parameter.detach() if apart else own[name] if own else self._score(name, weight)
            for kind in self.kinds:
                rate = seen.get(name)
                if kind == OUT:
                    source = next((n for n in self.graph[name].inputs if n in seen), None)
                    # a map that is flattened gives each of its columns the on-rate of its channel
                    rate = None if source is None else seen[source]
                    if rate is not None:
                        fits = weight.n_in % rate.numel() == 0
                        rate = rate.repeat_interleave(weight.n_in // rate.numel()) if fits else None
                found[name].append(Side(weight, kind, rate, score, other=other))
        return found

    # -- state

    def finish(self) -> PruningReport:
        """End training; under the threshold rule the density is what emerged."""
        if self.rule == rules.THRESHOLD:
            self.verify()
            return self.report()
        return super().finish()

    def remove(self) -> None:
        """Take every hook out; a forward rescale goes into weights and biases."""
        super().remove()
        if self.rescaling is not None:
            self.rescaling.fold()

    def extra_state(self) -> dict[str, Any]:
        """Slope, offset and row factors."""
        factors = None if self.rescaling is None else self.rescaling.state()
        return {"beta": self.beta, "d0": self.d0, "factors": factors}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""
        self.beta, self.d0 = state["beta"] if self.automatic else self.beta, state["d0"]
        if self.rescaling is not None and state["factors"] is not None:
            self.rescaling.load(state["factors"])

    # -- inside

    def _line(self, on_rate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        voiced = rules.without_silent(on_rate, self.silent_below)
        return rules.line_of(self.rule, voiced, 1.0 if self.beta is None else self.beta)

    def _cut_over_threshold(self, sides: Mapping[str, list[Side]]) -> dict[str, torch.Tensor]:
        masks = {}
        for name, both in sides.items():
            weight = self.weights[name]
            masks[name] = weight.mask.clone()
            for side in both:
                if side.on_rate is None or self.tau is None:
                    continue
                counts = rules.threshold_counts(
                    side.on_rate, side.degrees(weight.mask), self.tau, self.min_degree
                )
                # links once cut do not return under this rule
                side.score = side.score.abs().masked_fill(~weight.mask, -1.0)
                side.magnitude, side.other = False, None
                masks[name] &= side.mask(counts)
        return masks

    def _first_beta(self, sides: Mapping[str, list[Side]]) -> float:
        measured = [s for both in sides.values() for s in both if s.on_rate is not None]
        if not measured:
            return 1.0
        rates = torch.cat([s.on_rate for s in measured if s.on_rate is not None])
        links = sum(s.n_units * s.limit for s in measured) / rates.numel()
        return rules.first_beta(self.rule, rates, self.wanted_density * links)

    def _ascend(self, sides: Mapping[str, list[Side]], traffic: float) -> None:
        budget = self.traffic_budget
        if budget is None:
            full = sum(s.traffic(torch.tensor(s.limit)) for both in sides.values() for s in both)
            budget = self.traffic_share * self.wanted_density * full
        if budget > 0 and self.beta is not None:
            self.beta = rules.ascend_beta(self.beta, traffic, budget, _ASCENT_RATE)
            if self.beta == rules.BETA_RANGE[0] and traffic > budget and not self._told:
                self._told = True
                warnings.warn(
                    f"a traffic of {budget:.6g} links per step cannot be met at density "
                    f"{self.wanted_density:g}: the least is about {traffic:.6g}, where the rarest units have "
                    "all links; give a larger traffic_budget or traffic_share",
                    stacklevel=2,
                )

    def _score(self, name: str, weight: MaskedWeight) -> torch.Tensor:
        values = weight.peek()
        score = weight.per_link(values.abs()) if weight.by_channel else values
        if weight.dormant is None:
            dead = self._growth_score(name, score)
            score = torch.where(weight.mask, score.abs().clamp(min=_ALIVE), dead * _DEAD)
        return score

    def _growth_score(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return scores in [0, 1) of cut links."""
        weight = self.weights[name]
        gradient = weight.take_dead_gradient() if self.needs_gradient else None
        if gradient is not None:
            size = weight.per_link(gradient.abs_())
            largest = whole(size.flatten(1).amax(1)).amax()
            return size / float(largest.clamp(min=torch.finfo(size.dtype).tiny))
        # drawn whole in every process, so that all draw the same
        drawn = torch.rand(like.shape, generator=self.generator).to(like.device, like.dtype)
        return placed(drawn, like)

    def _check_seen(self) -> None:
        """Refuse a model none of whose units has an on-rate, and name activations that cannot be seen."""
        fed = any(n in self.activities for name in self.weights for n in self.graph[name].inputs)
        own = any(name in self.activities for name in self.weights)
        if self.rule != "uniform" and not (IN in self.kinds and own) and not (OUT in self.kinds and fed):
            lacks_inputs = self.activities and OUT in self.kinds
            raise ValueError(
                f"{'inputs' if lacks_inputs else 'activations'} must be given as "
                f"{{layer: {'layer' if lacks_inputs else 'module'}}}: "
                f"no on-rate was found that controls {', '.join(self.weights)}, and without one all degrees "
                "are those of rule='uniform'"
            )
        unseen = [name for name in self.weights if self.graph[name].unseen]
        if unseen and self.rule != "uniform":
            warnings.warn(
                f"the activation after {', '.join(unseen)} is called as a function where no module sees it: "
                "their units get uniform degrees; make it a module, such as nn.ReLU",
                stacklevel=3,
            )

    def _check_floor(self) -> None:
        """Refuse a floor that leaves no room for the density; on-rates can only raise what it takes."""
        least = total = 0.0
        for name, weight in self.weights.items():
            side = Side(weight, self.kinds[0], None, weight.mask)
            has_rate = name in self.activities if side.kind == IN else bool(self.graph[name].inputs)
            full = side.n_units * side.limit
            total += full * weight.link_size
            share = min(self.min_degree, side.limit) / side.limit if has_rate else self.density
            least += share * full * weight.link_size
        if self.rule != rules.THRESHOLD and len(self.kinds) == 1 and least > self.density * total + 0.5:
            raise ValueError(
                f"density must be in [{least / total:.6g}, 1], which min_degree={self.min_degree} leaves, "
                f"got {self.density:g}"
            )
