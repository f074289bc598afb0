"""How well does the Gaussian closure predict a trained network's on-rates, and its response to cut links?

Source: this project's closure (bbtheory.theory.closure, .response) on a 784-300-100-10 ReLU network trained
on MNIST and on Fashion-MNIST; moments come from training images, everything measured from held-out ones.
Three closures: "diagonal" carries variances only, "covariance" the full input covariance through all layers,
"measured" gives each layer the measured mean and covariance of its actual inputs, so that it errs only by
taking each pre-activation for a Gaussian. Responses: a share of one unit's links is cut, at random or the
weakest, incoming (SP-in: the unit's own on-rate) or outgoing (SP-out: the on-rates of the next layer), and
the measured change is compared with the linear and with the finite answer.

Time: 10 min on one core (CPU preset), no accelerator; needs MNIST and Fashion-MNIST, smoke runs on digits.
What would count against the closure: rank correlations well below 1, wrong signs, and relative errors far
above those of sampling (noise), all in the record per layer.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import Network, Shock, respond, solve_closure, validate
from bbtheory.records import Record
from experiments.protocol import NotRun, Progress

CLOSURES = ("diagonal", "covariance", "measured")
BATCH = 128
# a response counts in relative errors where it exceeds this many standard errors of its paired difference
SIGNIFICANT = 3.0


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    data_sets : tuple of str
        Names that bbtheory.train.load_data knows.
    hidden : tuple of int
        Units of each hidden layer.
    epochs : int
        Passes of Adam over the training images.
    n_shocked : int
        Units shocked in each layer, by each actuator.
    shares : tuple of float
        Shares of a unit's links that are cut.
    orders : tuple of str
        Which are cut: "random" or "weakest".
    seeds : tuple of int
        Each trains one network per data set and draws its shocks.
    """

    data_sets: tuple[str, ...] = ("mnist", "fashion_mnist")
    hidden: tuple[int, ...] = (300, 100)
    epochs: int = 10
    n_shocked: int = 100
    shares: tuple[float, ...] = (0.05, 0.2, 0.5)
    orders: tuple[str, ...] = ("random", "weakest")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        validate.integer("epochs", self.epochs, "[1, inf)")
        validate.integer("n_shocked", self.n_shocked, "[3, inf)")
        for share in self.shares:
            validate.real("shares", share, "(0, 1)")
        for order in self.orders:
            validate.choice("orders", order, ("random", "weakest"))


SMOKE = Config(data_sets=("digits",), hidden=(24, 12), epochs=15, n_shocked=6, shares=(0.2,), seeds=(0, 1))
CPU = Config(n_shocked=40, shares=(0.1, 0.5), seeds=(0, 1, 2))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One network: its rows of `Result`, and predicted and measured on-rates of its units."""

    KIND: ClassVar[str] = "response_closure_cell"

    accuracy: float
    on_rate_rows: tuple[dict[str, Any], ...]
    response_rows: tuple[dict[str, Any], ...]
    layer: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Errors of the closure, per network, layer and kind.

    Parameters
    ----------
    networks : tuple of str
        Data set and seed of each network, in the order of ``accuracy`` and of ``network`` below.
    accuracy : np.ndarray
        Share of held-out images classified correctly.
    on_rate_rows : tuple of dict
        data_set, seed, layer, closure, n (units that are ever on), spearman (rank correlation of predicted
        and measured on-rates), relative_error (median of |predicted - measured|/measured), absolute_error
        (median), bias (mean of predicted - measured), noise (median relative standard error of the measured),
        n_silent (units never on), skewness (median |skewness| of the measured pre-activations), correlation
        (mean |correlation| of pairs of inputs of the layer).
    response_rows : tuple of dict
        data_set, seed, layer (of the responding units), actuator, order, share, closure, form ("linear" or
        "finite"), n (responses), n_significant, spearman, sign (share of significant responses of the right
        sign), relative_error (median of |predicted - measured|/|measured| over significant ones), noise.
    network, layer : np.ndarray
        Of each unit of all networks.
    measured : np.ndarray
        On-rates on held-out images.
    predicted : np.ndarray, shape (3, n)
        By the three closures, in the order diagonal, covariance, measured.
    """

    KIND: ClassVar[str] = "response_closure"

    networks: tuple[str, ...]
    accuracy: np.ndarray
    on_rate_rows: tuple[dict[str, Any], ...]
    response_rows: tuple[dict[str, Any], ...]
    network: np.ndarray
    layer: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray


def cells(config: Config) -> list[Config]:
    """Return one setting per data set and seed."""
    return [
        dataclasses.replace(config, data_sets=(name,), seeds=(seed,))
        for name in config.data_sets
        for seed in config.seeds
    ]


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Gather the networks."""
    return Result(
        networks=tuple(f"{name} {seed}" for name in config.data_sets for seed in config.seeds),
        accuracy=np.array([cell.accuracy for cell in cells]),
        on_rate_rows=tuple(row for cell in cells for row in cell.on_rate_rows),
        response_rows=tuple(row for cell in cells for row in cell.response_rows),
        network=np.repeat(np.arange(len(cells)), [len(cell.layer) for cell in cells]),
        layer=np.concatenate([cell.layer for cell in cells]),
        measured=np.concatenate([cell.measured for cell in cells]),
        predicted=np.concatenate([cell.predicted for cell in cells], axis=1),
    )


def run(config: Config, progress: Progress) -> Cell:
    """Train one network, predict and measure its on-rates and responses."""
    (name,), seed = config.data_sets, config.seeds[0]
    data = _load(name, progress)
    n_hidden = len(config.hidden)
    progress.total(config.epochs + n_hidden * len(CLOSURES))
    trained = _Trained(data, config, seed, progress)
    head = {"data_set": name, "seed": seed}
    closures = {kind: trained.layers_under(kind) for kind in CLOSURES}
    predicted = np.array([trained.on_rates_under(kind, closures[kind]) for kind in CLOSURES])
    measured = np.concatenate([(u > 0).mean(0) for u in trained.pre_activations])
    layer = np.repeat(np.arange(n_hidden), config.hidden)
    on_rate_rows = []
    for at in range(n_hidden):
        shape = {"skewness": _skewness(trained.pre_activations[at]), "correlation": trained.correlation(at)}
        for kind, rates in zip(CLOSURES, predicted, strict=True):
            errors = _on_rate_errors(rates[layer == at], measured[layer == at], len(data.y_test))
            on_rate_rows.append({**head, "layer": at, "closure": kind, **errors, **shape})
    response_rows = []
    rng = np.random.default_rng(seed)
    for at in range(n_hidden):
        shocks = list(trained.shocks(at, config, rng))
        truth = [trained.measure(at, shock) for shock in shocks]
        for kind in CLOSURES:
            answers = [trained.predict(closures[kind], at, shock) for shock in shocks]
            for row in _response_errors(shocks, truth, answers):
                response_rows.append({**head, "layer": at, "closure": kind, **row})
            progress.tick()
    return Cell(
        accuracy=trained.accuracy,
        on_rate_rows=tuple(on_rate_rows),
        response_rows=tuple(response_rows),
        layer=layer,
        measured=measured,
        predicted=predicted,
    )


def _load(name: str, progress: Progress) -> Any:
    try:
        from bbtheory.train import MissingDataError, load_data
    except ImportError as error:
        raise NotRun("torch (pip install 'bbtheory[train]')") from error
    try:
        return load_data(name, progress.data_root)
    except MissingDataError as error:
        raise NotRun(f"the {name} data set (--data-root)") from error


@dataclasses.dataclass(frozen=True)
class _Cut:
    """Links of one unit to cut, all of them into layer ``at`` of the network."""

    actuator: str
    order: str
    share: float
    targets: np.ndarray
    sources: np.ndarray


class _Trained:
    """A trained network, the moments of its training images, and its behaviour on held-out ones."""

    def __init__(self, data: Any, config: Config, seed: int, progress: Progress):
        from sklearn.neural_network import MLPClassifier

        x, y = data.flat("train"), data.y_train
        # the stub wants batch_size to be the text "auto", the manual says or an integer
        model = MLPClassifier(config.hidden, batch_size=BATCH, alpha=0.0, random_state=seed)  # type: ignore[arg-type]
        for _ in range(config.epochs):
            model.partial_fit(x, y, classes=np.arange(len(data.class_names)))
            progress.tick()
        self.accuracy = float(model.score(data.flat("test"), data.y_test))
        self.weights = [np.asarray(w.T, dtype=np.float64) for w in model.coefs_]
        self.biases = [np.asarray(b, dtype=np.float64) for b in model.intercepts_]
        self.moments = []  # mean and covariance of the inputs of each hidden layer, training images
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            self.moments.append(_moments(x))
            x = np.maximum(x @ weight.T.astype(np.float32) + bias.astype(np.float32), 0.0)
        self.inputs, self.pre_activations = [data.flat("test").astype(np.float64)], []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            self.pre_activations.append(self.inputs[-1] @ weight.T + bias)
            self.inputs.append(np.maximum(self.pre_activations[-1], 0.0))

    def network(self, **moments: Any) -> Network:
        """Return the hidden layers as a network of the theory."""
        mean, _ = self.moments[0]
        hidden = len(self.moments)
        names = ["relu"] * hidden
        return Network(self.weights[:-1], mean, biases=self.biases[:-1], activations=names, **moments)

    def layers_under(self, closure: str) -> list[Network]:
        """Return each hidden layer alone, fed with the moments that this closure gives its inputs.

        The response of the layer a cut link enters depends on nothing else, so this is the whole network's.
        """
        mean, covariance = self.moments[0]
        out = []
        whole = solve_closure(
            self.network(input_covariance=covariance)
            if closure == "covariance"
            else self.network(input_variance=np.diagonal(covariance))
        )
        for at, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            below = whole.layer == at - 1
            moments: dict[str, Any]
            if closure == "measured":
                mean, moments = self.moments[at][0], {"input_covariance": self.moments[at][1]}
            elif closure == "covariance":
                mean = mean if at == 0 else whole.mean[below]
                moments = {"input_covariance": covariance if at == 0 else whole.covariances[at - 1]}
            else:
                mean = mean if at == 0 else whole.mean[below]
                moments = {"input_variance": np.diagonal(covariance) if at == 0 else whole.variance[below]}
            out.append(Network([weight], mean, biases=[bias], activations=["relu"], **moments))
        return out

    def on_rates_under(self, closure: str, layers: list[Network]) -> np.ndarray:
        """Return the predicted on-rates of all hidden units."""
        if closure == "measured":
            return np.concatenate([solve_closure(layer).on_rate for layer in layers])
        covariance = self.moments[0][1]
        if closure == "covariance":
            return solve_closure(self.network(input_covariance=covariance)).on_rate
        return solve_closure(self.network(input_variance=np.diagonal(covariance))).on_rate

    def correlation(self, at: int) -> float:
        """Return the mean |correlation| of pairs of inputs of a layer that vary."""
        covariance = self.moments[at][1]
        s = np.sqrt(np.diagonal(covariance))
        rho = np.abs(covariance[np.ix_(s > 0, s > 0)] / np.outer(s[s > 0], s[s > 0]))
        n = len(rho)
        return float((rho.sum() - n) / (n * (n - 1)))

    def shocks(self, at: int, config: Config, rng: np.random.Generator) -> Iterator[_Cut]:
        """Draw the cuts into a layer: SP-in of its units, SP-out of the hidden units below it."""
        weight = np.abs(self.weights[at])
        n_out, n_in = weight.shape
        for actuator, n in (("sp_in", n_out), ("sp_out", n_in if at else 0)):
            units = rng.choice(n, min(n, config.n_shocked), replace=False) if n else []
            for order in config.orders:
                for share in config.shares:
                    for unit in units:
                        strength = weight[unit] if actuator == "sp_in" else weight[:, unit]
                        key = rng.random(len(strength)) if order == "random" else strength
                        other = np.argsort(key)[: max(1, round(share * len(strength)))]
                        own = np.full(len(other), unit)
                        pair = (own, other) if actuator == "sp_in" else (other, own)
                        yield _Cut(actuator, order, share, *pair)

    def measure(self, at: int, cut: _Cut) -> tuple[np.ndarray, np.ndarray]:
        """Return the measured change of each hit unit's on-rate, and its paired standard error."""
        units = np.unique(cut.targets)
        weight = self.weights[at][units]
        place = np.searchsorted(units, cut.targets)
        weight[place, cut.sources] = 0.0
        change = (self.inputs[at] @ weight.T + self.biases[at][units] > 0).astype(np.float64)
        change -= self.pre_activations[at][:, units] > 0
        return change.mean(0), change.std(0) / math.sqrt(len(change))

    def predict(self, layers: list[Network], at: int, cut: _Cut) -> tuple[np.ndarray, np.ndarray]:
        """Return the linear and the finite answer for each hit unit's on-rate."""
        units = np.unique(cut.targets)
        answer = respond(layers[at], Shock(np.zeros_like(cut.targets), cut.targets, cut.sources))
        base = answer.on_rate[units]
        return answer.on_rate_linear[units] - base, answer.on_rate_finite[units] - base


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance in float64, in chunks so that no second copy of the images is made."""
    mean = x.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), 10_000):
        centred = x[start : start + 10_000].astype(np.float64) - mean
        covariance += centred.T @ centred
    return mean, covariance / len(x)


def _skewness(u: np.ndarray) -> float:
    centred = u - u.mean(0)
    variance = (centred**2).mean(0)
    varies = variance > 0
    return float(np.median(np.abs((centred[:, varies] ** 3).mean(0) / variance[varies] ** 1.5)))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import ConstantInputWarning, spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)  # no rank among equals: NaN is the answer
        found: Any = spearmanr(a, b)  # the stub has it a bare tuple
        return float(found.statistic)


def _on_rate_errors(predicted: np.ndarray, measured: np.ndarray, n_images: int) -> dict[str, Any]:
    on = measured > 0
    p, m = predicted[on], measured[on]
    return {
        "n": int(on.sum()),
        "n_silent": int((~on).sum()),
        "spearman": _rank_correlation(p, m),
        "relative_error": float(np.median(np.abs(p - m) / m)),
        "absolute_error": float(np.median(np.abs(p - m))),
        "bias": float(np.mean(p - m)),
        "noise": float(np.median(np.sqrt((1.0 - m) / (m * n_images)))),
    }


def _response_errors(
    shocks: Sequence[_Cut], truth: Sequence[Any], answers: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    kinds = list(dict.fromkeys((s.actuator, s.order, s.share) for s in shocks))
    for actuator, order, share in kinds:
        which = [
            i for i, s in enumerate(shocks) if (s.actuator, s.order, s.share) == (actuator, order, share)
        ]
        m = np.concatenate([truth[i][0] for i in which])
        stderr = np.concatenate([truth[i][1] for i in which])
        clear = np.abs(m) > SIGNIFICANT * stderr
        for form, place in (("linear", 0), ("finite", 1)):
            p = np.concatenate([answers[i][place] for i in which])
            some = bool(clear.any())
            yield {
                "actuator": actuator,
                "order": order,
                "share": share,
                "form": form,
                "n": len(m),
                "n_significant": int(clear.sum()),
                "spearman": _rank_correlation(p, m),
                "sign": float(np.mean(np.sign(p[clear]) == np.sign(m[clear]))) if some else math.nan,
                "relative_error": float(np.median(np.abs(p - m)[clear] / np.abs(m[clear])))
                if some
                else math.nan,
                "noise": float(np.median(stderr[clear] / np.abs(m[clear]))) if some else math.nan,
            }
