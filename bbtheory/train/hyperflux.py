"""Hyperflux: weights that stay or leave by their own gradient, under a pressure that is equal for all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bbtheory import validate
from bbtheory.train import distributed
from bbtheory.train.flow import STARTS, Flow
from bbtheory.train.masked_model import NonFiniteError
from bbtheory.train.presence import GATES, PresentWeight
from bbtheory.train.pressure import PressureRule, Setting
from bbtheory.train.pruner import Pruner
from bbtheory.train.sharding import is_sharded, whole
from bbtheory.train.showing import ShowingWatch
from bbtheory.train.unit_report import PruningReport

ABSENT = ("free", "held")
_CHECK_EVERY = 50  # steps between looks at gradients on an accelerator, where each look waits for it


class Hyperflux(Pruner):
    """Trains the presence t of each weight under a pressure gamma: theta = w H(t), loss + gamma mean(t).

    A weight is present where t >= 0. Its gradient is dL/dw = H(t) dL/dtheta, and t follows

        kappa w dL/dtheta + gamma/N,    kappa = 1/4,

    N the number of prunable weights, absent ones included. The pressure acts on t alone: the loss of the
    training script stays as it is, and so do its optimizer and the clipping of its gradients.

        flux = Hyperflux(model, 0.5)
        ...
        optimizer.step()
        flux.step()

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place: absent weights are zero. Its parameters, modules and state_dict keep their identity
        and their names.
    pressure : float, callable (number of the interval, from 1) -> float, or PressureRule
        gamma >= 0, held; set for each interval; or steered: `FollowTrajectory`, `SteerDensity`.
    interval : int
        Optimizer steps from one change of the pressure to the next, >= 1: an epoch in the authors' code.
    flow : Flow, optional
        The optimizer of t; Adam at a rate of 1e-3 by default.
    presence : float or (float, float), optional
        t at the start, or the ends of a uniform draw; (0.2, 0.5) with Adam, (0.0002, 0.0005) with SGD.
    gate : {"constant", "sigmoid"}
        kappa = 1/4, or the authors' earlier form, s(t) (1 - s(t)) with a penalty of gamma mean(s(t)).
    floor : float
        < 0. The pressure acts on t above it alone. Without one (-inf) an absent weight sinks, step by step,
        to where it hardly returns from; at a floor it returns after some steps of a flux that calls for it.
        The authors' code had a floor of -0.3 in early 2025, -1.5 times the least t at the start.
    absent : {"free", "held"}
        Whether weight decay and momentum of the optimizer go on acting on absent weights, as in the authors'
        code, or absent weights keep their values.
    layers, exclude, optimizer, seed : see `Pruner`
        The seed draws t.
    scaler : torch.amp.GradScaler, optional
        Must be given where one scales the loss; `train_epochs` gives its own.
    stop_when_empty : bool
        Whether `stopped` is set, which ends `train_epochs`, when a layer has no weight left at the end of an
        interval. A warning names it in any case.

    Attributes
    ----------
    rule : PressureRule
    setting : Setting
        Pressure and flow that act now.
    stopped : str
        Why training should end, "" as long as it should not.

    Raises
    ------
    ValueError
        If an argument is outside its domain, a name is unknown, or there is nothing to prune.

    Notes
    -----
    Between ``optimizer.step()`` and ``flux.step()`` the parameters hold w: call the second right after the
    first. A gradient that is thrown away without a step has to be set to None, not to zero.

    References
    ----------
    Hyperflux (arXiv 2504.05349); gate, constants and starts from the authors' code.
    """

    weight_kind = PresentWeight
    watch_kind = ShowingWatch
    weights: dict[str, PresentWeight]
    _watch: ShowingWatch

    def __init__(
        self,
        model: nn.Module,
        pressure: float | Callable[[int], float] | PressureRule,
        *,
        interval: int = 100,
        flow: Flow | None = None,
        presence: float | tuple[float, float] | None = None,
        gate: str = "constant",
        floor: float = -math.inf,
        absent: str = "free",
        layers: Sequence[str | tuple[nn.Module, str]] | None = None,
        exclude: Sequence[str] = (),
        optimizer: torch.optim.Optimizer | None = None,
        scaler: Any = None,
        stop_when_empty: bool = True,
        seed: int = 0,
    ):
        self.rule = pressure if isinstance(pressure, PressureRule) else PressureRule(pressure)
        self.setting: Setting = self.rule.first()
        self.flow = Flow() if flow is None else validate.instance("flow", flow, Flow)
        start = _ends(STARTS[self.flow.rule] if presence is None else presence)
        self.gate = validate.choice("gate", gate, GATES)
        self.floor = validate.real("floor", floor, "[-inf, 0)")
        self.absent = validate.choice("absent", absent, ABSENT)
        self.stop_when_empty = stop_when_empty
        self.stopped = ""
        self._warned: set[str] = set()
        super().__init__(
            model, interval=interval, layers=layers, exclude=exclude, optimizer=optimizer, seed=seed
        )
        self.density = self.rule.target
        self.scaler = scaler
        self._n_pressed = self.n_weights
        compiled = any(weight.is_compiled for weight in self.weights.values())
        for weight in self.weights.values():
            weight.held = self.absent == "held"
            weight.is_compiled = compiled
            weight.start(*start, self.flow.n_moments, self.generator)

    # -- what presses

    @property
    def pressure(self) -> float:
        """Pressure gamma now."""
        return self.setting.pressure

    @property
    def scaler(self) -> Any:
        """The torch.amp.GradScaler that scales the loss, if there is one."""
        return self._watch.scaler

    @scaler.setter
    def scaler(self, scaler: Any) -> None:
        self._watch.scaler = scaler

    def saliency(self) -> float:
        """Pressure gamma, the least flux that keeps a weight: the saliency of the authors' code."""
        return self.pressure

    def scores(self) -> dict[str, torch.Tensor]:
        """Presence t of each weight."""
        return {name: weight.t for name, weight in self.weights.items()}

    @property
    def empty_layers(self) -> tuple[str, ...]:
        """Layers without a present weight."""
        return tuple(name for name, weight in self.weights.items() if weight.n_kept == 0)

    # -- the course of training

    def is_refresh(self, step: int) -> bool:
        """Whether the pressure is set anew after a step."""
        return step % self.interval == 0

    def step(self) -> None:
        """Move t one step, and the masks with it; call it right after ``optimizer.step()``.

        A step that a gradient scaler skipped is not counted.

        Raises
        ------
        NonFiniteError
            If a gradient is not finite: presence stays. On an accelerator that is looked for every 50 steps.
        ValueError
            If it was removed.
        """
        self._require_attached()
        if not self._watch.take_step():
            self._give_up()
            return
        if not all(weight.is_settled for weight in self.weights.values()):
            self._attach_weights()
        n_processes = self._pool()
        self._require_finite_pull()
        self.step_count += 1
        scale = 1.0 / (self._watch.scale * n_processes)
        push = self.setting.pressure / self._n_pressed
        lr = self.flow.lr * self.setting.flow
        for weight in self.weights.values():
            if weight.is_trained:
                weight.move(self.flow, lr, self.step_count, scale, push, self.floor, self.gate)
            else:
                weight.hide()
        if self.is_refresh(self.step_count):
            self.refresh()

    def refresh(self) -> None:
        """End an interval: the rule is told the density and sets the pressure of the next."""
        self._require_attached()
        self.n_refreshes += 1
        self.setting = self.rule.after(self.n_refreshes, self.current_density)
        empty = [name for name in self.empty_layers if name not in self._warned]
        if empty:
            self._warned.update(empty)
            what = f"every weight of layer {', '.join(empty)} is pruned at step {self.step_count}"
            warnings.warn(f"{what}: what it puts out no longer depends on its input", stacklevel=3)
            if self.stop_when_empty:
                self.stopped = what

    def finish(self) -> PruningReport:
        """End training: cut and restore weights by t until the target density is met, verify, and report.

        Raises
        ------
        NonFiniteError, ValueError
            If weights are not finite, or as `verify`.
        """
        self._require_attached()
        self._give_up()
        self._require_finite(self.step_count)
        if abs(self.n_kept - self.density * self.n_weights) >= 1.0:  # never where there is no target
            self._finishing = True
            try:
                self.apply(self.choose())
            finally:
                self._finishing = False
        self.verify(agreement=True)
        return self.report()

    def apply(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Put masks in place, and move t to the nearest value that agrees."""
        for name, mask in masks.items():
            self.weights[name].project(mask)

    def verify(self, *, agreement: bool = False) -> None:
        """Check that absent weights are zero, and that a weight is present where t >= 0 and nowhere else.

        Parameters
        ----------
        agreement : bool
            Check too that masks are the same in all processes; all of them must call it.

        Raises
        ------
        ValueError
            Naming the first layer where it is not so.
        """
        super().verify(agreement=agreement)
        for name, weight in self.weights.items():
            if not bool(whole(torch.eq(weight.mask, weight.t >= 0).all())):
                raise ValueError(f"layer {name!r} must be present where t >= 0 and nowhere else, got others")

    def remove(self) -> None:
        """See `Pruner.remove`."""
        for weight in self.weights.values():
            weight.hide()
        super().remove()

    # -- state

    def extra_state(self) -> dict[str, Any]:
        """Presence, what its optimizer remembers, and who presses how hard."""
        return {
            "presence": {
                name: {"t": weight.t.clone(), "moments": [m.clone() for m in weight.moments]}
                for name, weight in self.weights.items()
            },
            "rule": {"kind": type(self.rule).__name__, **self.rule.state_dict()},
            "pressure": self.setting.pressure,
            "flow": self.setting.flow,
            "stopped": self.stopped,
            "warned": sorted(self._warned),
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take over `extra_state`."""
        for name, weight in self.weights.items():
            saved = state["presence"][name]
            weight.t.copy_(saved["t"])
            for moment, value in zip(weight.moments, saved["moments"], strict=True):
                moment.copy_(value)
            weight.drop()
        self.rule.load_state_dict({k: v for k, v in state["rule"].items() if k != "kind"})
        self.setting = Setting(float(state["pressure"]), float(state["flow"]))
        self.stopped, self._warned = str(state["stopped"]), set(state["warned"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; absent weights are set to zero.

        Raises
        ------
        ValueError
            If it belongs to another rule, optimizer of t or architecture; nothing is changed then.
        """
        extra = state.get("extra", {}) if isinstance(state, Mapping) else {}
        if isinstance(extra, Mapping) and "presence" in extra and "rule" in extra:
            kinds = extra["rule"]["kind"], type(self.rule).__name__
            counts = [len(part["moments"]) for part in extra["presence"].values()]
            if kinds[0] != kinds[1]:
                raise ValueError(f"state must be of the same pressure rule {kinds[1]}, got {kinds[0]}")
            if any(n != self.flow.n_moments for n in counts):
                raise ValueError(f"state must be of the same rule of flow {self.flow.rule!r}, got another")
        for weight in self.weights.values():
            weight.hide()
        super().load_state_dict(state)

    # -- inside

    def _attach_weights(self) -> bool:
        if any(is_sharded(weight.parameter) for weight in self.weights.values()):
            raise ValueError("model must hold whole weights for Hyperflux, got sharded ones")
        return super()._attach_weights()

    def _pool(self) -> float:
        """Sum what pulls over processes, which is linear in their gradients; return how many they are."""
        if distributed.n_processes(getattr(self.reduce, "group", None)) == 1:
            return 1.0
        for weight in self.weights.values():
            if not weight.is_pulled:
                weight.pulled.zero_()
            weight.is_pulled, weight.healthy = True, False  # another process's may not be finite
        one = torch.ones(())
        self.reduce([*(weight.pulled for weight in self.weights.values()), one])
        return float(one)

    def _require_finite_pull(self) -> None:
        for name, weight in self.weights.items():
            if weight.healthy or (weight.t.device.type != "cpu" and self.step_count % _CHECK_EVERY):
                continue
            if not weight.is_finite():
                self._give_up()
                raise NonFiniteError(
                    f"gradients of layer {name!r} must be finite numbers, got others: step "
                    f"{self.step_count + 1} of presence refused"
                )

    def _give_up(self) -> None:
        """Forget what pulls, and let all weights hold theta."""
        for weight in self.weights.values():
            weight.hide()
            weight.drop()


def _ends(presence: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(presence, tuple):
        low, high = validate.array("presence", presence, "[-1e30, 1e30]", shape=(2,)).tolist()
    else:
        low = high = validate.real("presence", presence, "[-1e30, 1e30]")
    if low > high:
        raise ValueError(f"presence must be (low, high) with low <= high, got {presence!r}")
    return low, high
