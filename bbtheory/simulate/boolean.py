"""A small ReLU network that learns a Boolean task while links are cut by the local rule, or by its rivals."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from bbtheory import validate
from bbtheory.simulate import boolean_kernel as kernel
from bbtheory.simulate.boolean_assessment import (
    MAX_EXACT,
    N_SAMPLED,
    assess,
    examples,
    loss_and_accuracy,
    propagate,
)
from bbtheory.simulate.boolean_network import Network, aligned
from bbtheory.simulate.boolean_refresh import refresh
from bbtheory.simulate.boolean_run import BooleanRun
from bbtheory.simulate.boolean_settings import Pruning, Training
from bbtheory.tasks import BooleanTask

_TOP = 2.0**64


def simulate_boolean(
    task: BooleanTask, training: Training | None = None, pruning: Pruning | None = None, *, seed: int
) -> BooleanRun:
    """Train a network on fresh examples of a Boolean task, pruning it on the way.

    Hidden layers relu(s (W x + b)), s = 1 but for the rescale forward, one output with logistic loss. After
    every ``pruning.interval`` steps links are cut by the method chosen, which knows averages of the on-rates
    over the training batches.

    Parameters
    ----------
    task : BooleanTask
    training : Training, optional
        None: its defaults.
    pruning : Pruning, optional
        None: no links are cut.
    seed : int
        >= 0; weights, examples, random scores and the examples of assessment follow from it alone.

    Returns
    -------
    BooleanRun

    Raises
    ------
    ValueError
        If an argument is of the wrong type, the settings name a matrix that the network lacks or the
        actuator cannot act on, they ask for arrays of more than 1e9 values, or the run diverges.

    Notes
    -----
    The same seed gives the same bits, whatever the threads of BLAS. Products as small as these run best on
    one: set OPENBLAS_NUM_THREADS=1, or expect a crawl where cores are shared.

    References
    ----------
    Budgeted Broadcast, arXiv 2510.01263: XOR and DNF with a 3-layer network (its settings are not public).

    Examples
    --------
    >>> from bbtheory.tasks import xor
    >>> simulate_boolean(xor(), Training(hidden=(16, 16), learning_rate=0.01, steps=500), seed=0).accuracy
    1.0
    """
    validate.instance("task", task, BooleanTask)
    training = Training() if training is None else training
    pruning = Pruning() if pruning is None else pruning
    validate.instance("training", training, Training)
    validate.instance("pruning", pruning, Pruning)
    seed = validate.integer("seed", seed, "[0, inf)")
    _check_layers(training, pruning)
    _check_room(task, training, pruning)
    initial, scores, judged, stream = np.random.SeedSequence(seed).spawn(4)
    rng = np.random.default_rng(judged)
    traced = examples(task, training.examples, training.examples, rng)
    last = examples(task, 1 << MAX_EXACT, N_SAMPLED, rng)
    network = Network((task.n_inputs, *training.hidden, 1), training.dtype, np.random.default_rng(initial))
    trainer = Trainer(task, training, pruning.ema_decay, network, int(stream.generate_state(1, np.uint64)[0]))
    draw = np.random.default_rng(scores)
    noise = [draw.random(network.weights[layer].shape) for layer in pruning.layers]
    n_refreshes = 0
    rows = []
    while trainer.done < training.steps:
        trainer.run(min(pruning.interval, training.steps - trainer.done))
        on_rates = trainer.on_rates()
        if pruning.refreshes_at(trainer.done):
            refresh(network, pruning, on_rates, n_refreshes, noise)
            n_refreshes += 1
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
            _, logit = propagate(network.weights, network.biases, network.scales, traced.values)
        loss, accuracy = loss_and_accuracy(logit, traced)
        if not math.isfinite(loss):
            raise ValueError(
                f"learning_rate must let the run stay finite, got {training.learning_rate:g}, which diverged "
                f"by step {trainer.done}"
            )
        kept = [network.kept[layer] for layer in pruning.layers]
        rows.append(
            (
                trainer.done,
                loss,
                accuracy,
                sum(int(k.sum()) for k in kept) / sum(k.size for k in kept),
                np.concatenate(on_rates),
                network.fan_in(),
                network.fan_out(),
            )
        )
    traces = [np.array(column) for column in zip(*rows, strict=True)]
    hidden, logit = propagate(network.weights, network.biases, network.scales, last.values)
    acts = pruning.method in ("threshold", "controller")
    kind = {"sp_out": "fan_out", "sp_in": "fan_in", "both": "both"}[pruning.actuator] if acts else "none"
    return BooleanRun(
        task,
        training,
        pruning,
        seed,
        kind,
        *traces,
        weights=tuple(w.copy() for w in network.weights),
        biases=tuple(b.copy() for b in network.biases),
        masks=network.kept,
        dormant=tuple(d.copy() for d in network.matrices(network.dormant)),
        scales=tuple(s.copy() for s in network.scales),
        train_accuracy=trainer.right / (training.steps * training.batch),
        final=assess(hidden, logit, last),
    )


def _check_room(task: BooleanTask, training: Training, pruning: Pruning) -> None:
    sizes = (task.n_inputs, *training.hidden, 1)
    rows = -(-training.steps // pruning.interval)
    widest = max(sizes)
    for name, value, n_values in (
        ("task", f"{task.n_inputs} inputs", N_SAMPLED * task.n_inputs),
        ("hidden", training.hidden, sum(below * above for below, above in pairwise(sizes))),
        ("batch", training.batch, training.batch * sum(sizes)),
        ("examples", training.examples, training.examples * widest),
        ("hidden", training.hidden, N_SAMPLED * max(training.hidden)),
        ("steps", training.steps, rows * sum(training.hidden)),
    ):
        validate.room(name, value, n_values)


def _check_layers(training: Training, pruning: Pruning) -> None:
    top = len(training.hidden)
    if pruning.layers[-1] > top:
        raise ValueError(f"layers must be at most {top} for {top} hidden layers, got {pruning.layers}")
    if pruning.method not in ("threshold", "controller"):
        return
    if pruning.actuator in ("sp_out", "both") and pruning.layers[0] == 0:
        raise ValueError(f"layers must be above 0 for SP-out: inputs have no on-rate, got {pruning.layers}")
    if pruning.actuator in ("sp_in", "both") and pruning.layers[-1] == top:
        raise ValueError(
            f"layers must be below {top} for SP-in: the output has no on-rate, got {pruning.layers}"
        )


class Trainer:
    """The compiled training loop with its buffers: call `run` for some steps at a time."""

    def __init__(
        self, task: BooleanTask, training: Training, ema_decay: float, network: Network, stream: int
    ):
        self.network, self.done, self.right = network, 0, 0
        kind, batch, sizes = network.dtype, training.batch, network.sizes
        self._task = task_arrays(task, kind)
        self._flat = (network.parameters, network.slopes, network.mask, network.first, network.second)
        self._views = (
            network.weights,
            network.biases,
            network.matrices(network.slopes),
            network.vectors(network.slopes),
            network.scales,
        )
        n_hidden = sum(sizes[1:-1])
        self._on_count = np.zeros(n_hidden, np.int64)
        self._buffers = (
            aligned((task.n_inputs + 2, batch), np.dtype(np.uint8)),
            aligned((task.n_inputs, batch), kind),
            aligned((batch,), kind),
            aligned((batch,), kind),
            aligned((batch,), kind),
            tuple(aligned((width, batch), kind) for width in sizes[1:-1]),
            tuple(aligned((width, batch), kind) for width in sizes[1:-1]),
            self._on_count,
        )
        self._rates = np.array(
            [training.learning_rate, training.first_decay, training.second_decay, training.eps], kind
        )
        self._adam = training.optimizer == "adam"
        self._decay, self._average = ema_decay, np.zeros(n_hidden)
        self.state = np.uint64(stream)  # the counter of the random stream

    def run(self, n_steps: int, train: Callable[..., tuple[int, int]] = kernel.train) -> None:
        """Train for n steps; ``train`` is the compiled loop."""
        state, right = train(
            self._flat, self._views, self._buffers, self._task, self._rates, self._adam,
            self._average, self._decay, self.state, self.done, n_steps,
        )  # fmt: skip
        self.state = np.uint64(state)
        self.done += n_steps
        self.right += right

    def on_rates(self) -> tuple[np.ndarray, ...]:
        """Average on-rates of each hidden layer over the steps so far, corrected for their start at zero."""
        seen = self._average / (1.0 - self._decay**self.done)
        ends = np.cumsum(self.network.sizes[1:-1])[:-1]
        return tuple(np.split(np.clip(seen, 0.0, 1.0), ends))


def task_arrays(task: BooleanTask, kind: np.dtype) -> tuple:
    """Return a task as the kernel takes it: probabilities as parts of 2^64, terms end to end."""
    chance = np.array([np.uint64(p * _TOP) for p in task.probability])
    literal = np.array([j for term in task.terms for j in term], np.int64)
    start = np.cumsum([0, *map(len, task.terms)])
    shown = np.array(task.input_values, kind)
    flip = np.uint64(task.label_noise * _TOP)
    return chance, flip, task.rule == "parity", start, literal, shown, float(task.input_noise)
