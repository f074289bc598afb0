"""The compiled training loop against NumPy, finite differences, SciPy and published values."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import ndtri

from bbtheory.simulate import boolean_kernel as kernel
from bbtheory.simulate.boolean import Trainer, task_arrays
from bbtheory.simulate.boolean_network import Network
from bbtheory.simulate.boolean_settings import Training
from bbtheory.tasks import BooleanTask, rare_and_common_dnf, xor

STEP = 0x9E3779B97F4A7C15
FLOAT64 = np.dtype(np.float64)
# sums of at most a few hundred float64 products in another order
ROUNDING = 1e-12
# a proportion from n draws, in standard errors; a right sampler fails one of 1e7 such tests
N_STDERR = 5.3


class Interpreted:
    """The kernels as plain Python, calling each other."""

    def __init__(self, module):
        self.__dict__.update(vars(module))
        for name, function in list(vars(module).items()):
            if hasattr(function, "py_func"):
                plain = function.py_func
                self.__dict__[name] = type(plain)(plain.__code__, self.__dict__, name)


def numpy_gradient(network, values, target):
    """Return the mean logistic loss and its gradients, written from the textbook in (batch, features)."""
    x, inputs, pre = values.T, [], []
    for weight, bias, scale in zip(network.weights[:-1], network.biases[:-1], network.scales, strict=True):
        inputs.append(x)
        pre.append((x @ weight.T + bias) * scale)
        x = np.where(pre[-1] > 0, pre[-1], 0.0)
    inputs.append(x)
    logit = (x @ network.weights[-1].T + network.biases[-1])[:, 0]
    loss = np.mean(np.logaddexp(0.0, logit) - target * logit)
    delta = ((1.0 / (1.0 + np.exp(-logit)) - target) / target.size)[:, None]
    weight_slopes, bias_slopes = [], []
    for layer in range(len(network.weights) - 1, -1, -1):
        weight_slopes.insert(0, delta.T @ inputs[layer])
        bias_slopes.insert(0, delta.sum(axis=0))
        if layer:
            scale = network.scales[layer - 1]
            delta = (delta @ network.weights[layer]) * (pre[layer - 1] > 0) * scale
    return loss, weight_slopes, bias_slopes, pre


def network_of(sizes, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    network = Network(sizes, dtype, rng)
    for bias in network.biases:
        bias[:] = rng.normal(0, 0.3, bias.shape)
    for scale in network.scales:
        scale[:] = rng.uniform(0.5, 2.0, scale.shape)
    for layer in range(len(sizes) - 1):
        network.set_kept(layer, rng.random(network.weights[layer].shape) < 0.7)
    return network


def gradients(network, values, target, functions=kernel):
    """Return what the kernels find: logit, on counts, rightly classified, gradients."""
    batch, sizes = target.size, network.sizes
    hidden, errors = (tuple(np.zeros((w, batch)) for w in sizes[1:-1]) for _ in range(2))
    logit, slope, on_count = np.zeros(batch), np.zeros(batch), np.zeros(sum(sizes[1:-1]), np.int64)
    functions.forward(values, network.weights, network.biases, network.scales, hidden, logit, on_count)
    right = functions.loss_slope(logit, target, slope)
    weight_slopes, bias_slopes = network.matrices(network.slopes), network.vectors(network.slopes)
    functions.backward(
        values, network.weights, network.scales, hidden, errors, slope, weight_slopes, bias_slopes
    )
    return logit, on_count, right, weight_slopes, bias_slopes


SIZES = [(2, 5, 1), (3, 1, 1), (2, 9, 4, 1), (10, 12, 9, 1), (4, 8, 8, 8, 1)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradient_by_two_roads(sizes):
    rng = np.random.default_rng(3)
    network = network_of(sizes)
    values, target = rng.normal(size=(sizes[0], 37)), (rng.random(37) < 0.4).astype(float)
    logit, on_count, right, weight_slopes, bias_slopes = gradients(network, values, target)
    _, weights, biases, pre = numpy_gradient(network, values, target)
    for found, expected in zip((*weight_slopes, *bias_slopes), (*weights, *biases), strict=True):
        np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_array_equal(on_count, np.concatenate([(u > 0).sum(axis=0) for u in pre]))
    assert right == ((logit > 0) == (target > 0)).sum()


def test_gradient_by_finite_differences():
    rng = np.random.default_rng(4)
    network = network_of((3, 6, 5, 1))
    values, target = rng.normal(size=(3, 64)), (rng.random(64) < 0.4).astype(float)
    gradients(network, values, target)
    slopes, step, found = network.slopes.copy(), 1e-6, []
    for p in range(network.parameters.size):
        losses = []
        for sign in (1, -1):
            network.parameters[p] += sign * step
            losses.append(numpy_gradient(network, values, target)[0])
            network.parameters[p] -= sign * step
        found.append((losses[0] - losses[1]) / (2 * step))
    # step^2 of curvature, and 1e-16/step of rounding; padding between matrices has no slope on either road
    np.testing.assert_allclose(slopes, found, atol=1e-8)
    assert np.abs(slopes).max() > 1e-3


@pytest.mark.parametrize("use_adam", [True, False])
def test_training_follows_numpy(use_adam):
    """Twenty steps on the kernel's own examples, the optimizer from its paper."""
    task = BooleanTask("dnf", (0.4, 0.6, 0.5), ((0, ~1), (2,)), input_noise=0.2, label_noise=0.1)
    training = Training(
        (7, 6), batch=33, dtype="float64", learning_rate=0.03, optimizer="adam" if use_adam else "sgd"
    )
    network, reference = network_of((3, 7, 6, 1)), network_of((3, 7, 6, 1))
    masks = [kept.astype(float) for kept in reference.kept]
    trainer = Trainer(task, training, 0.9, network, 77)
    bits, values, target = np.zeros((5, 33), np.uint8), np.zeros((3, 33)), np.zeros(33)
    state, average, right = np.uint64(77), 0.0, 0
    parameters = [*reference.weights, *reference.biases]
    masks += [np.ones_like(bias) for bias in reference.biases]
    first, second = [0.0] * len(parameters), [0.0] * len(parameters)
    for t in range(1, 21):
        state = np.uint64(kernel.draw_examples(state, task_arrays(task, FLOAT64), bits, values, target))
        _, weights, biases, pre = numpy_gradient(reference, values, target)
        logit = np.maximum(pre[-1], 0) @ reference.weights[-1][0] + reference.biases[-1][0]
        right += int(((logit > 0) == (target > 0)).sum())
        average = 0.9 * average + 0.1 * np.concatenate([(u > 0).mean(axis=0) for u in pre])
        for i, (p, slope) in enumerate(zip(parameters, (*weights, *biases), strict=True)):
            g = slope * masks[i]
            if not use_adam:
                p -= 0.03 * g
                continue
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            p -= 0.03 * (first[i] / (1 - 0.9**t)) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8)
    trainer.run(13)
    trainer.run(7)
    for found, expected in zip((*network.weights, *network.biases), parameters, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.concatenate(trainer.on_rates()), average / (1 - 0.9**20), rtol=1e-12)
    assert trainer.right == right


def test_cut_links_stay_zero():
    network = network_of((2, 8, 8, 1))
    kept, dormant = network.kept, network.dormant.copy()
    Trainer(xor(), Training((8, 8), batch=16, dtype="float64"), 0.9, network, 5).run(50)
    for weight, mask in zip(network.weights, kept, strict=True):
        np.testing.assert_array_equal(weight != 0, mask)
    np.testing.assert_array_equal(network.dormant, dormant)
    assert np.all(network.first[network.mask == 0] == 0)


def test_float32_begins_like_float64():
    runs = []
    for dtype in ("float32", "float64"):
        network = network_of((2, 16, 16, 1), dtype=dtype)
        assert all(w.dtype == dtype and w.ctypes.data % 64 == 0 for w in network.weights)
        Trainer(xor(), Training((16, 16), dtype=dtype), 0.9, network, 5).run(10)
        runs.append(network.parameters[: runs[0].size] if runs else network.parameters)
        sizes = [w.size for w in network.weights]
        runs[-1] = np.concatenate([w.ravel() for w in network.weights])
    assert runs[0].size == sum(sizes)
    np.testing.assert_allclose(runs[0], runs[1], atol=2e-5)


# random numbers


def test_random_bits_are_splitmix64():
    # the first outputs of the generator seeded with 0, as published with it
    found = [int(kernel.random_bits(np.uint64((k * STEP) % 2**64))) for k in (1, 2, 3)]
    assert found == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_normal_numbers_are_quantiles():
    values, start = np.zeros((2, 5000)), 99
    end = kernel.add_normal(np.uint64(start), 2.0, values)
    counters = [np.uint64((start + b * STEP) % 2**64) for b in range(10_000)]
    uniform = (np.array([int(kernel.random_bits(c)) >> 11 for c in counters]) + 0.5) * 2.0**-53
    # AS 241 states 7 digits
    np.testing.assert_allclose(values.ravel(), 2.0 * ndtri(uniform), rtol=1e-6)
    assert int(end) == (start + 10_000 * STEP) % 2**64


def test_normal_numbers_in_the_tails():
    """Quantiles that sampling does not reach, on all branches."""
    u = np.array([0.5, 0.9249, 0.9251, 1e-3, 1e-9, 1e-12, 1 - 1e-12])
    python = Interpreted(kernel)
    centred = iter([*(u - 0.5), *(u - 0.5)])  # read twice
    python._centred = lambda state: next(centred)
    values = np.zeros((1, u.size))
    with np.errstate(over="ignore"):
        python.add_normal(np.uint64(0), 1.0, values)
    # u - 1/2 has lost the last digits of u at 1e-12
    np.testing.assert_allclose(values[0], ndtri(u), rtol=1e-5, atol=1e-15)


def draw(task, n, seed=1):
    bits, values, target = (
        np.zeros((task.n_inputs + 2, n), np.uint8),
        np.zeros((task.n_inputs, n)),
        np.zeros(n),
    )
    kernel.draw_examples(np.uint64(seed), task_arrays(task, FLOAT64), bits, values, target)
    return bits[: task.n_inputs].T.astype(bool), values, target


def off(found, expected, n):
    return np.max(np.abs(found - expected) / np.sqrt(expected * (1 - expected) / n))


DRAWN = [
    xor(3, n_distractors=1),
    BooleanTask("parity", (0.3, 0.8), ((~0, 1),), (0.0, 2.0)),
    rare_and_common_dnf(2, 2),
    BooleanTask("dnf", (0.3, 0.4, 0.5, 0.6), ((0, 1), (~1, 2), (3,))),
]


@pytest.mark.parametrize("task", DRAWN, ids=str)
def test_examples_are_the_task(task):
    n = 200_000
    inputs, values, target = draw(task, n)
    np.testing.assert_array_equal(target, task.labels(inputs))
    np.testing.assert_array_equal(values.T, task.show(inputs))
    assert off(inputs.mean(axis=0), np.array(task.probability), n) < N_STDERR
    assert off(target.mean(), task.label_probability, n) < N_STDERR
    # pairs of inputs are independent
    correlation = np.corrcoef(inputs.T) - np.eye(task.n_inputs)
    assert np.abs(correlation).max() < N_STDERR / math.sqrt(n)


def test_noise_on_examples():
    task, n = xor(input_noise=0.4, label_noise=0.2), 200_000
    inputs, values, target = draw(task, n)
    noise = values.T - task.show(inputs)
    assert noise.std() == pytest.approx(0.4, rel=N_STDERR / math.sqrt(4 * n))
    assert abs(np.corrcoef(noise.T)[0, 1]) < N_STDERR / math.sqrt(n)
    assert off((target != task.labels(inputs)).mean(), 0.2, n) < N_STDERR
    # the same proportion is not taken for another
    assert off((target != task.labels(inputs)).mean(), 0.21, n) > 2 * N_STDERR


def test_no_random_number_is_used_twice():
    task, n = xor(n_distractors=1, input_noise=0.4, label_noise=0.2), 30
    bits, values, target = np.zeros((5, n), np.uint8), np.zeros((3, n)), np.zeros(n)
    end = kernel.draw_examples(np.uint64(7), task_arrays(task, FLOAT64), bits, values, target)
    # three inputs, the label, noise on three inputs
    assert int(end) == (7 + 7 * n * STEP) % 2**64


# jitted against Python


@pytest.mark.parametrize("use_adam", [True, False])
@pytest.mark.parametrize("sizes", [(3, 9, 1), (3, 9, 4, 1)], ids=str)
def test_jitted_is_python(sizes, use_adam):
    task = BooleanTask("dnf", (0.4, 0.6, 0.5), ((0, ~1), (2,)), input_noise=0.2, label_noise=0.1)
    ends = []
    for functions in (kernel, Interpreted(kernel)):
        network = network_of(sizes)
        training = Training(sizes[1:-1], batch=17, dtype="float64", optimizer="adam" if use_adam else "sgd")
        trainer = Trainer(task, training, 0.9, network, 3)
        with np.errstate(over="ignore"):  # 64-bit counters wrap around: so they are meant
            trainer.run(4, functions.train)
        ends.append((network.parameters, np.concatenate(trainer.on_rates()), trainer.right, trainer.state))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=ROUNDING)
    assert ends[0][2:] == ends[1][2:]


def test_jitted_parity_draws_are_python():
    task = BooleanTask("parity", (0.4, 0.6, 0.5), ((0, ~2),), label_noise=0.3)
    found = []
    for functions in (kernel, Interpreted(kernel)):
        bits, values, target = np.zeros((5, 40), np.uint8), np.zeros((3, 40)), np.zeros(40)
        with np.errstate(over="ignore"):
            functions.draw_examples(np.uint64(8), task_arrays(task, FLOAT64), bits, values, target)
        found.append((bits[:3], values, target))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_process_that_compiles_gives_the_same_bits_as_later_ones(tmp_path):
    code = (
        "from bbtheory.simulate import Training, simulate_boolean\n"
        "from bbtheory.tasks import rare_and_common_dnf\n"
        "run = simulate_boolean(rare_and_common_dnf(6), Training((64, 64), steps=100), seed=0)\n"
        "print(run.weights[1].tobytes().hex())\n"
    )
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    call = [sys.executable, "-c", code]
    first, second = (
        subprocess.run(call, env=env, check=True, capture_output=True, text=True).stdout for _ in range(2)
    )
    assert first == second
