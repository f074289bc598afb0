"""Do SP-in and SP-out do to on-rates and residuals what linear response predicts, and which needs fewer cuts?

Source: arXiv 2510.01263 has two actuators: SP-in cuts links into a unit and is said to lower its on-rate,
SP-out cuts links out of it and leaves its on-rate alone; this project's response (bbtheory.respond) predicts
sign and size. Networks that have learned a DNF of independent literals have exact input moments, and a truth
table gives every on-rate exactly before and after a cut: what is left is the error of the Gaussian closure.

trained   two hidden layers; the weakest links of a unit, or random ones, are cut: one, or a share. Own
          response to SP-in in either layer, and that of the second layer to SP-in and SP-out in the first.
random    single layers of random units over fair inputs, by fan-in: exact on-rates by splitting the inputs
          in two halves. The closure is asymptotic in fan-in.
cuts      links that each actuator must cut, weakest first, to raise a residual by a given depth: predicted
          (bbtheory.actuator_cuts) and counted on the truth table.

Control: predictions shuffled over units, whose rank correlation with the measured must vanish.

Time: 3 min on one core (CPU preset), no accelerator. What would count against linear response: wrong signs,
errors that do not fall with fan-in; against "SP-in lowers on-rates": cuts that raise them.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from bbtheory import Network, Shock, actuator_cuts, respond, solve_closure, validate
from bbtheory.fit.uncertainty import mean_interval
from bbtheory.measure import measure_activity
from bbtheory.records import Record
from bbtheory.simulate import Training, simulate_boolean
from bbtheory.tasks import dnf
from bbtheory.theory.entropy import inactivity_log_odds
from experiments.protocol import Progress

ORDERS = ("weakest", "random")
TRAINED = ("in first own", "in first behind", "in second own", "out first own", "out first behind")
NUMBERS = (
    "n",
    "lowered",
    "raised",
    "unchanged",
    "largest",
    "raised_predicted",
    "spearman_linear",
    "spearman_finite",
    "spearman_shuffled",
    "sign_linear",
    "sign_finite",
    "error_linear",
    "error_finite",
    "residual_linear",
    "residual_finite",
    "rate_error",
)
CUT_NUMBERS = (
    "n",
    "reached",
    "reached_predicted",
    "reached_agrees",
    "cuts",
    "cuts_finite",
    "cuts_linear",
    "cuts_out",
    "error_finite",
    "error_linear",
    "in_is_fewer",
    "actuator_agrees",
)
LAYERS = ("first", "second")
# changes of an exact on-rate below this are rounding of the sum of probabilities
ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    term_probability : tuple of float, and n_literals : int
        Of the DNF; all literals together are enumerated.
    hidden : (int, int)
        Units of the two hidden layers.
    steps : int
        Of training.
    shares : tuple of float
        Shares of a unit's links that are cut, at least one link; 0 is one link.
    fan_ins : tuple of int
        Of the random units, even.
    n_random : int
        Random units of each fan-in.
    bias : float
        Standard deviation of their biases, of pre-activations of variance 1.
    beta : float
        Price of a link, nats per link.
    depth : float
        By which residuals are to be raised, nats.
    least_rate : float
        Units with on-rates nearer to 0 or 1 than this are not cut.
    seeds : tuple of int
    """

    term_probability: tuple[float, ...] = (1 / 9, 1 / 9, 0.3, 0.3, 0.5, 0.5)
    n_literals: int = 2
    hidden: tuple[int, int] = (32, 32)
    steps: int = 2000
    shares: tuple[float, ...] = (0.0, 0.15, 0.3)
    fan_ins: tuple[int, ...] = (4, 8, 16, 32)
    n_random: int = 32
    bias: float = 1.0
    beta: float = 0.1
    depth: float = 0.5
    least_rate: float = 0.01
    seeds: tuple[int, ...] = tuple(range(100))

    def __post_init__(self) -> None:
        for share in self.shares:
            validate.real("shares", share, "[0, 1)")
        for fan_in in self.fan_ins:
            validate.integer("fan_ins", fan_in, "[2, 36]")
        validate.real("beta", self.beta, "(0, inf)")
        validate.real("depth", self.depth, "(0, inf)")


SMOKE = Config(
    term_probability=(1 / 9, 0.3, 0.5), hidden=(8, 8), steps=300, shares=(0.0, 0.3), fan_ins=(4, 12),
    n_random=8, seeds=(0, 1),
)  # fmt: skip
CPU = Config(seeds=tuple(range(20)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell(Record):
    """One seed: `Result` without its last axes."""

    KIND: ClassVar[str] = "actuator_response_cell"

    accuracy: float
    n_silent: int
    trained: np.ndarray
    random: np.ndarray
    cuts: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Result(Record):
    """Measured and predicted responses, per kind of cut and seed.

    Parameters
    ----------
    accuracy : np.ndarray, shape (n_seeds,)
        Of the trained networks.
    n_silent : np.ndarray, shape (n_seeds,)
        Hidden units never on or never off: they cannot respond and are left out.
    groups : tuple of str
        actuator, layer of the unit that is cut, and who responds: itself or the layer behind.
    orders : tuple of str
        Which links are cut: the weakest, or random ones.
    shares : np.ndarray
        Share of the unit's links; 0: one link.
    numbers : tuple of str
        n responses; shares of them lowered, raised, unchanged (exactly); the largest change of an on-rate;
        raised_predicted; spearman_* rank correlation of predicted and measured changes of on-rates, linear,
        finite, and of finite predictions shuffled over the responses; sign_* share of responses, of those
        that changed, with the right sign; error_* median |predicted - measured|/|measured| of those;
        residual_* median |predicted - measured| change of the residual, nats; rate_error: median
        |predicted - measured| on-rate before any cut.
    trained : np.ndarray, shape (n_groups, n_orders, n_shares, n_numbers, n_seeds)
    fan_ins : np.ndarray
    random : np.ndarray, shape (n_fan_ins, n_shares, n_numbers, n_seeds)
        Own response to SP-in of random links.
    beta, depth : float
    layers : tuple of str
    cut_numbers : tuple of str
        n units; reached: share whose residual SP-in can raise by the depth, counted and predicted, and where
        both agree; cuts: mean links counted where counted and both forms reach it, with the means of
        cuts_finite and cuts_linear there; cuts_out: links of SP-out; error_*: mean |predicted - counted|;
        in_is_fewer: share of units that SP-in corrects with fewer links than SP-out, counted;
        actuator_agrees: share for which the predicted actuator is that one. The second layer has one link
        out: no comparison there.
    cuts : np.ndarray, shape (n_layers, n_orders, n_cut_numbers, n_seeds)
        Orders are weakest first and, in place of random, largest predicted gain first.
    """

    KIND: ClassVar[str] = "actuator_response"

    accuracy: np.ndarray
    n_silent: np.ndarray
    groups: tuple[str, ...]
    orders: tuple[str, ...]
    shares: np.ndarray
    numbers: tuple[str, ...]
    trained: np.ndarray
    fan_ins: np.ndarray
    random: np.ndarray
    beta: float
    depth: float
    layers: tuple[str, ...]
    cut_numbers: tuple[str, ...]
    cuts: np.ndarray

    def of(self, part: str, number: str) -> np.ndarray:
        """Values of a number of trained, random or cuts, seeds last."""
        names = self.cut_numbers if part == "cuts" else self.numbers
        return getattr(self, part)[..., names.index(number), :]

    def interval(self, part: str, number: str) -> np.ndarray:
        """Mean over seeds and its 95 % interval, last axis (mean, low, high)."""
        mean, (low, high) = mean_interval(np.moveaxis(self.of(part, number), -1, 0))
        return np.stack([mean, low, high], axis=-1)


def cells(config: Config) -> list[Config]:
    """Return one setting per seed."""
    return [dataclasses.replace(config, seeds=(seed,)) for seed in config.seeds]


def run(config: Config, progress: Progress) -> Cell:
    """Train a network, cut its links, and cut those of random units."""
    seed = config.seeds[0]
    progress.total(len(ORDERS) * len(config.shares) + len(config.fan_ins))
    trained = _Trained(config, seed)
    rng = np.random.default_rng((seed, 0))
    found = np.empty((len(TRAINED), len(ORDERS), len(config.shares), len(NUMBERS)))
    for at in np.ndindex(found.shape[1:3]):
        for actuator, where in (("in", "first"), ("in", "second"), ("out", "first")):
            seen = trained.responses(actuator, where, ORDERS[at[0]], config.shares[at[1]], config, rng)
            for group, numbers in seen.items():
                found[TRAINED.index(group), *at] = numbers
        progress.tick()
    thinned = []
    for fan_in in config.fan_ins:
        thinned.append(_random_units(fan_in, config, np.random.default_rng((seed, fan_in))))
        progress.tick()
    cuts = [
        [trained.cuts(layer, order, config) for order in ("weakest", "largest")]
        for layer in range(len(LAYERS))
    ]
    return Cell(
        accuracy=trained.accuracy,
        n_silent=int(np.count_nonzero((trained.on_rate == 0) | (trained.on_rate == 1))),
        trained=found,
        random=np.array(thinned, dtype=float),
        cuts=np.array(cuts, dtype=float),
    )


def collect(config: Config, cells: Sequence[Cell]) -> Result:
    """Put the seeds side by side."""
    return Result(
        accuracy=np.array([cell.accuracy for cell in cells]),
        n_silent=np.array([cell.n_silent for cell in cells]),
        groups=TRAINED,
        orders=ORDERS,
        shares=np.array(config.shares),
        numbers=NUMBERS,
        trained=np.stack([cell.trained for cell in cells], axis=-1),
        fan_ins=np.array(config.fan_ins),
        random=np.stack([cell.random for cell in cells], axis=-1),
        beta=config.beta,
        depth=config.depth,
        layers=LAYERS,
        cut_numbers=CUT_NUMBERS,
        cuts=np.stack([cell.cuts for cell in cells], axis=-1),
    )


class _Trained:
    """A trained network, its closure, and its exact behaviour on the truth table."""

    def __init__(self, config: Config, seed: int):
        task = dnf(config.term_probability, n_literals=config.n_literals)
        lived = simulate_boolean(
            task, Training(config.hidden, config.steps, learning_rate=1e-2, dtype="float64"), seed=seed
        )
        self.accuracy = lived.accuracy
        self.weights, self.biases = list(lived.weights), list(lived.biases)
        table = task.truth_table()
        self.values, self.probability = task.show(table.inputs).T, table.probability
        mean = self.values @ self.probability
        low, high = task.input_values
        true = np.array(task.probability)
        self.network = Network(
            self.weights,
            mean,
            input_covariance=np.diag((high - low) ** 2 * true * (1.0 - true)),
            biases=self.biases,
            activations="relu",
        )
        self.closure = solve_closure(self.network)
        self.hidden = self.network.layer < len(self.weights) - 1
        self.on_rate = self.measure(self.weights)

    def measure(self, weights: list[np.ndarray]) -> np.ndarray:
        """Return the exact on-rates of all hidden units with these weights."""
        x, on = self.values, []
        for weight, bias in zip(weights[:-1], self.biases[:-1], strict=True):
            u = weight @ x + bias[:, None]
            on.append(u > 0)
            x = np.maximum(u, 0.0)
        return measure_activity(np.concatenate(on).T, weights=self.probability).on_rate

    def responses(
        self,
        actuator: str,
        where: str,
        order: str,
        share: float,
        config: Config,
        rng: np.random.Generator,
    ) -> dict[str, list[float]]:
        """Return NUMBERS by group for one kind of cut: each unit that is not silent is cut in turn."""
        layer = LAYERS.index(where)
        behind = np.flatnonzero((self.network.layer == layer + 1) & self.hidden)
        found: dict[str, list[np.ndarray]] = {}
        for unit in range(self.network.sizes[layer]):
            own = self.network.index(layer, unit)
            if not config.least_rate <= self.on_rate[own] <= 1.0 - config.least_rate:
                continue
            shock = self._shock(actuator, layer, unit, order, share, rng)
            weights = [w.copy() for w in self.weights]
            weights[int(shock.layers[0])][shock.targets, shock.sources] = 0.0
            answer = respond(self.network, shock)
            rates = np.array(
                [
                    self.on_rate,
                    self.measure(weights),
                    *(
                        form[self.hidden]
                        for form in (answer.on_rate, answer.on_rate_linear, answer.on_rate_finite)
                    ),
                ]
            )
            found.setdefault(f"{actuator} {where} own", []).append(rates[:, [own]])
            if behind.size:
                hit = behind[shock.targets] if actuator == "out" else behind
                found.setdefault(f"{actuator} {where} behind", []).append(rates[:, hit])
        together = {group: np.concatenate(rates, axis=1) for group, rates in found.items()}
        return {group: _numbers(rates[:2], rates[2:], rng) for group, rates in together.items()}

    def _shock(
        self, actuator: str, layer: int, unit: int, order: str, share: float, rng: np.random.Generator
    ) -> Shock:
        links = self.network.links_in if actuator == "in" else self.network.links_out
        others, weight = links(layer, unit)
        key = np.abs(weight) if order == "weakest" else rng.random(len(weight))
        some = others[np.argsort(key, kind="stable")[: max(1, round(share * len(others)))]]
        if actuator == "in":
            return Shock.sp_in(self.network, layer, unit, some)
        return Shock.sp_out(self.network, layer, unit, some)

    def cuts(self, layer: int, order: str, config: Config) -> list[float]:
        """Return the numbers of links to cut, predicted and counted on the truth table."""
        x = self.values
        for weight, bias in zip(self.weights[:layer], self.biases[:layer], strict=True):
            x = np.maximum(weight @ x + bias[:, None], 0.0)
        rows = []
        for unit in range(self.network.sizes[layer]):
            on_rate = self.on_rate[self.network.index(layer, unit)]
            if not config.least_rate <= on_rate <= 1.0 - config.least_rate:
                continue
            plan = actuator_cuts(
                self.network, layer, unit, beta=config.beta, residual=-config.depth, order=order
            )
            parts = self.weights[layer][unit, plan.source, None] * x[plan.source]
            left = self.biases[layer][unit] + np.cumsum(parts[::-1], axis=0)[::-1][1:]
            path = measure_activity(left.T, weights=self.probability).inactivity_log_odds
            enough = np.flatnonzero(path - inactivity_log_odds(on_rate) >= config.depth)
            counted = int(enough[0]) + 1 if enough.size else None
            rows.append((counted, plan.sp_in_cuts, plan.sp_in_cuts_linear, plan.sp_out_cuts, plan.actuator))
        return list(_cut_numbers(rows, compared=layer == 0))


def _cut_numbers(rows: list[tuple[Any, ...]], *, compared: bool) -> Iterator[float]:
    """Yield the numbers of CUT_NUMBERS for units (counted, finite, linear, sp_out, actuator)."""
    counted, finite, linear, out = (
        np.array([np.nan if row[i] is None else row[i] for row in rows], dtype=float) for i in range(4)
    )
    reached, foreseen = np.isfinite(counted), np.isfinite(finite)
    both = reached & foreseen & np.isfinite(linear)
    fewer = np.where(reached, counted, np.inf) < np.where(np.isfinite(out), out, np.inf)
    chosen = np.array([row[4] == "sp_in" for row in rows])

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if values.size else np.nan

    yield len(rows)
    yield mean(reached)
    yield mean(foreseen)
    yield mean(reached == foreseen)
    yield mean(counted[both])
    yield mean(finite[both])
    yield mean(linear[both])
    yield mean(out[np.isfinite(out)]) if compared else np.nan
    yield mean(np.abs(finite - counted)[both])
    yield mean(np.abs(linear - counted)[both])
    yield mean(fewer) if compared else np.nan
    yield mean(fewer == chosen) if compared else np.nan


def _random_units(fan_in: int, config: Config, rng: np.random.Generator) -> list[list[float]]:
    """Return the numbers of random units over fair inputs -1 and 1, some of their links cut."""
    weight = rng.standard_normal((config.n_random, fan_in)) / np.sqrt(fan_in)
    bias = config.bias * rng.standard_normal(config.n_random)
    network = Network([weight], np.zeros(fan_in), np.ones(fan_in), biases=[bias], activations=["relu"])
    before = fair_on_rates(weight, bias)
    out = []
    for share in config.shares:
        n_cut = max(1, round(share * fan_in))
        sources = rng.random(weight.shape).argsort(axis=1)[:, :n_cut]
        targets = np.repeat(np.arange(config.n_random), n_cut)
        cut = weight.copy()
        cut[targets, sources.ravel()] = 0.0
        answer = respond(network, Shock(np.zeros_like(targets), targets, sources.ravel()))
        predicted = np.array([answer.on_rate, answer.on_rate_linear, answer.on_rate_finite])
        out.append(_numbers(np.array([before, fair_on_rates(cut, bias)]), predicted, rng))
    return out


def fair_on_rates(weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return P(w x + b > 0), one per row, for inputs -1 and 1 with equal chance, exactly.

    The sums over either half of the inputs are enumerated; one half is sorted, so that for each sum of the
    other a search counts the pairs above zero: 2^(n/2) log instead of 2^n.
    """
    n_in = weight.shape[1]
    half = n_in // 2
    out = np.empty(len(weight))
    for i, w in enumerate(weight):
        first, second = _signed_sums(w[:half]), np.sort(_signed_sums(w[half:]))
        below = np.searchsorted(second, -(bias[i] + first), side="right")
        out[i] = np.sum(second.size - below) / (first.size * second.size)
    return out


def _signed_sums(w: np.ndarray) -> np.ndarray:
    """Return the sums +-w_1 +- w_2 ... of all signs, (2^n,)."""
    sums = np.zeros(1)
    for each in w:
        sums = np.concatenate([sums - each, sums + each])
    return sums


def _numbers(measured: np.ndarray, predicted: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Return NUMBERS of measured on-rates (before, after) and predicted ones (before, linear, finite)."""
    change = measured[1] - measured[0]
    change[np.abs(change) <= ROUNDING] = 0.0
    linear, finite = predicted[1:] - predicted[0]
    moved = change != 0
    log_odds = inactivity_log_odds(np.clip(measured, 0.0, 1.0))
    lasting = np.isfinite(log_odds).all(axis=0)
    # fan-out enters predicted and measured residuals alike, so their difference is that of the log-odds
    shift = log_odds[1, lasting] - log_odds[0, lasting]
    start, *forms = inactivity_log_odds(predicted[:, lasting])

    def median(values: np.ndarray) -> float:
        return float(np.median(values)) if values.size else np.nan

    def right(form: np.ndarray) -> float:
        return float(np.mean(np.sign(form[moved]) == np.sign(change[moved]))) if moved.any() else np.nan

    def error(form: np.ndarray) -> float:
        return median(np.abs(form - change)[moved] / np.abs(change[moved]))

    numbers = {
        "n": change.size,
        "lowered": np.mean(change < 0),
        "raised": np.mean(change > 0),
        "unchanged": np.mean(change == 0),
        "largest": np.abs(change).max(),
        "raised_predicted": np.mean(finite > ROUNDING),
        "spearman_linear": _rank_correlation(linear, change),
        "spearman_finite": _rank_correlation(finite, change),
        "spearman_shuffled": _rank_correlation(rng.permutation(finite), change),
        "sign_linear": right(linear),
        "sign_finite": right(finite),
        "error_linear": error(linear),
        "error_finite": error(finite),
        "residual_linear": median(np.abs(forms[0] - start - shift)),
        "residual_finite": median(np.abs(forms[1] - start - shift)),
        "rate_error": median(np.abs(predicted[0] - measured[0])),
    }
    return [float(numbers[name]) for name in NUMBERS]


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import ConstantInputWarning, spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)  # no rank among equals: NaN is the answer
        found: Any = spearmanr(a, b)  # the stub has it a bare tuple
        return float(found.statistic)
