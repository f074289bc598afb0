"""Many networks of one shape under held pressures, trained side by side: one batched product per layer.

Network by network the arithmetic is that of `bbtheory.train.Hyperflux`, constant gate and Adam, from its
start, on tensors that hold all networks along their first axis. On a CUDA device the data lie beside them and
a step is one captured graph; on a CPU stacking gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bbtheory.train.hyperflux import Hyperflux
from bbtheory.train.masked_model import NonFiniteError
from bbtheory.train.presence import KAPPA
from bbtheory.train.pressure import PressureRule

_EAGER = 3  # steps before one is captured: libraries choose their kernels in the first
_TEST_BATCH = 2048
_STACKED = (nn.Linear, nn.ReLU, nn.Flatten)


class HyperfluxStack:
    """Classifiers of linear layers with ReLU between, and the presence of their weights, trained together.

    Parameters
    ----------
    fluxes : sequence of Hyperflux
        One per network, not yet trained, alike but for weights, presence and pressure: a constant gate, a
        flow of Adam, a held pressure, every layer of the model pruned. Biases are not.
    x, y : tensor (n_samples, n_inputs), (n_samples,)
        Shared by all networks; where they lie is where the networks are trained.
    learning_rate : float
        Of Adam on weights and biases, without decay; `learn_at` changes it.
    smoothing : float
        Of labels, in [0, 1).

    Raises
    ------
    ValueError
        If the networks cannot be stacked.

    Notes
    -----
    The models are as they were until `put_back`. A layer that loses its last weight is not reported before
    then (`Hyperflux.empty_layers`).
    """

    def __init__(
        self,
        fluxes: Sequence[Hyperflux],
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        learning_rate: float,
        smoothing: float = 0.0,
    ):
        self.fluxes, self.x, self.y, self.smoothing = tuple(fluxes), x, y, smoothing
        for i, flux in enumerate(self.fluxes):
            _require_alike(i, flux, self.fluxes[0])
        self.device = x.device
        flow, self.floor = self.fluxes[0].flow, self.fluxes[0].floor
        layers = list(zip(*(flux.weights.values() for flux in self.fluxes), strict=True))
        # (n_networks, n_out, n_in), the same, (n_networks, 1, n_out)
        self.w = [self._stacked([weight.parameter for weight in layer]) for layer in layers]
        self.t = [self._stacked([weight.t for weight in layer]) for layer in layers]
        self.bias = [
            self._stacked([_linear(flux)[k].bias[None] for flux in self.fluxes]) for k in range(len(layers))
        ]
        pushes = [flux.pressure / flux.n_weights for flux in self.fluxes]
        self.push = torch.tensor(pushes, dtype=self.t[0].dtype, device=self.device)[:, None, None]
        captured = self.device.type == "cuda"
        self.rate = torch.tensor(learning_rate, dtype=self.w[0].dtype, device=self.device)
        self.optimizers = (
            torch.optim.Adam([*self.w, *self.bias], self.rate, capturable=captured),
            torch.optim.Adam(self.t, flow.lr, flow.betas, flow.eps, capturable=captured),
        )
        for optimizer in self.optimizers:
            for p in optimizer.param_groups[0]["params"]:
                p.grad = torch.zeros_like(p)
                number = torch.zeros((), device=self.device if captured else "cpu")
                moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                optimizer.state[p] = {"step": number, **moments}
        self._graphs: dict[int, Callable[[torch.Tensor], torch.Tensor]] = {}
        self._n_eager = 0

    def _stacked(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack([part.detach() for part in parts]).to(self.device)

    def learn_at(self, rate: float) -> None:
        """Set the learning rate of weights and biases."""
        self.rate.fill_(rate)

    def epoch(self, order: torch.Tensor, batch: int) -> torch.Tensor:
        """Train on all samples once; return the loss of each network, its mean over the batches.

        Parameters
        ----------
        order : tensor (n_networks, n_samples), int64
            Which sample each network sees when, as `TensorBatches.order` of each.
        batch : int
            Samples per step; the last step may have fewer.

        Raises
        ------
        NonFiniteError
            If a loss is not finite, naming the networks by their places.
        """
        parts = order.to(self.device).split(batch, dim=1)
        loss = torch.zeros(len(order), dtype=torch.float64, device=self.device)
        for part in parts:
            loss += self._step(part)
        if not bool(torch.isfinite(loss).all()):
            bad = torch.nonzero(~torch.isfinite(loss)).flatten().tolist()
            raise NonFiniteError(f"loss must be a finite number, got another in networks {bad} of the stack")
        return loss / len(parts)

    @torch.no_grad()
    def density(self) -> torch.Tensor:
        """Kept / prunable weights of each network, (n_networks,)."""
        kept = sum((t >= 0).sum(dim=(1, 2)) for t in self.t)
        return torch.as_tensor(kept).double() / sum(t[0].numel() for t in self.t)

    @torch.no_grad()
    def accuracy(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Share of samples that each network classifies right, (n_networks,)."""
        theta = [w * (t >= 0) for w, t in zip(self.w, self.t, strict=True)]
        right = torch.zeros(len(self.fluxes), dtype=torch.float64, device=self.device)
        for xs, ys in zip(x.split(_TEST_BATCH), y.split(_TEST_BATCH), strict=True):
            out = self._forward(theta, xs.expand(len(right), *xs.shape))
            right += (out.argmax(-1) == ys).sum(dim=1)
        return right / len(x)

    @torch.no_grad()
    def put_back(self) -> None:
        """Hand weights, biases and presence to the models and their `Hyperflux`, on this device."""
        for i, flux in enumerate(self.fluxes):
            flux.model.to(self.device)
            for k, weight in enumerate(flux.weights.values()):
                weight.follow()
                weight.take(self.w[k][i], self.t[k][i])
                _linear(flux)[k].bias.copy_(self.bias[k][i, 0])

    def state(self) -> dict[str, Any]:
        """All that a run which is cut off needs."""
        return {"tensors": [tensor.detach().cpu().numpy().copy() for tensor in self._tensors()]}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over `state`."""
        for tensor, saved in zip(self._tensors(), state["tensors"], strict=True):
            tensor.copy_(torch.as_tensor(saved))

    def _tensors(self) -> list[torch.Tensor]:
        moments = [
            part
            for optimizer in self.optimizers
            for p in optimizer.param_groups[0]["params"]
            for part in optimizer.state[p].values()
        ]
        return [*self.w, *self.t, *self.bias, *moments]

    # -- a step

    def _forward(self, theta: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for k, (weight, bias) in enumerate(zip(theta, self.bias, strict=True)):
            x = torch.baddbmm(bias, functional.relu(x) if k else x, weight.transpose(1, 2))
        return x

    def _eager_step(self, index: torch.Tensor) -> torch.Tensor:
        """Train on samples ``index``, (n_networks, batch); return the losses."""
        x, y = self.x[index], self.y[index]
        theta = [(w * (t >= 0)).requires_grad_() for w, t in zip(self.w, self.t, strict=True)]
        biases = [bias.requires_grad_() for bias in self.bias]
        out = self._forward(theta, x)
        losses = functional.cross_entropy(
            out.flatten(0, 1), y.flatten(), reduction="none", label_smoothing=self.smoothing
        )
        loss = losses.view(y.shape).mean(dim=1)
        gradients = torch.autograd.grad(loss.sum(), [*theta, *biases])
        with torch.no_grad():
            for w, t, g in zip(self.w, self.t, gradients[: len(theta)], strict=True):
                torch.add(KAPPA * w * g, self.push * (t > self.floor), out=t.grad)
                torch.mul(g, t >= 0, out=w.grad)
            for bias, g in zip(biases, gradients[len(theta) :], strict=True):
                assert bias.grad is not None
                bias.grad.copy_(g)
            for optimizer in self.optimizers:
                optimizer.step()
        return loss.detach()

    def _step(self, index: torch.Tensor) -> torch.Tensor:
        n = index.shape[1]
        if self.device.type != "cuda":
            return self._eager_step(index)
        if n in self._graphs:
            return self._graphs[n](index)
        if self._graphs or self._n_eager < _EAGER:  # a last, smaller batch is not worth a graph
            self._n_eager += 1
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                loss = self._eager_step(index)
            torch.cuda.current_stream().wait_stream(aside)
            return loss
        seen, graph = index.clone(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # records the step and does not make it
            loss = self._eager_step(seen)

        def replay(index: torch.Tensor) -> torch.Tensor:
            seen.copy_(index)
            graph.replay()
            return loss

        self._graphs[n] = replay
        return replay(index)


def _linear(flux: Hyperflux) -> list[nn.Linear]:
    return [module for module in flux.model.modules() if isinstance(module, nn.Linear)]


def _require_alike(i: int, flux: Hyperflux, first: Hyperflux) -> None:
    """Check that a network can stand in one stack with the first."""
    layers, weights = _linear(flux), [weight.parameter for weight in flux.weights.values()]
    odd = [m for m in flux.model.modules() if not [*m.children()] and not isinstance(m, _STACKED)]
    shapes, wanted = ([w.parameter.shape for w in f.weights.values()] for f in (flux, first))
    wrong = {
        f"modules {odd}": odd,
        f"layers {[*flux.weights]} of {len(layers)}": [*map(id, weights)] != [id(m.weight) for m in layers],
        "a layer without biases": any(layer.bias is None for layer in layers),
        f"gate {flux.gate!r}": flux.gate != "constant",
        f"floor {flux.floor}": flux.floor != first.floor,
        f"flow {flux.flow}": flux.flow.rule != "adam" or flux.flow != first.flow,
        f"pressure of {flux.rule}": type(flux.rule) is not PressureRule or flux.rule.is_called,
        f"step {flux.step_count}": flux.step_count > 0,
        f"shapes {[*map(tuple, shapes)]}": shapes != wanted,
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(
                "fluxes must be of linear layers with biases and ReLU between, all pruned, alike and not yet "
                f"trained, with a constant gate, Adam and a held pressure, got {what} in network {i}"
            )
