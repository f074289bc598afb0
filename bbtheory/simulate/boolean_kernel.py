"""Compiled training of a small ReLU network on a Boolean task: examples, forward, backward, optimizer.

Arrays are (features, batch): every loop but the matrix products (BLAS, by np.dot) runs along the batch.
Parameters lie in one flat array, of which the matrices are views, so that the optimizer is one loop. One call
runs many steps. All of it is one file, because numba's cache does not notice a change in another file that a
kernel calls. Inner loops are inlined by force: else the process that compiles `train` links the loops as
compiled on their own, every later process, from the cache, as compiled within it, and sums rounded in another
order give other bits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# sums may be reordered into vector lanes, products fused; NaN and infinities keep their meaning
_FAST = {"reassoc", "contract", "nsz"}
# from this many features on BLAS beats a loop along the batch
_BLAS_FROM = 8

# SplitMix64 (Steele, Lea, Flood 2014): a counter with this step, hashed; no dependence from draw to draw, so
# that draws run in vector lanes
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53
_MIDDLE = 0.425  # quantiles this close to 1/2 need no logarithm


@njit(forceinline=True, error_model="numpy")
def random_bits(state):
    """64 random bits of a counter."""
    z = (state ^ (state >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@njit(forceinline=True, cache=True, error_model="numpy")
def draw_bits(state, chance, bits):
    """Fill rows of 0/1, row j one with probability chance[j]/2^64; return the counter behind them."""
    for j in range(bits.shape[0]):
        row, limit = bits[j], chance[j]
        for b in range(row.size):
            row[b] = random_bits(state + np.uint64(b) * _STEP) < limit
        state += np.uint64(row.size) * _STEP
    return state


@njit(forceinline=True, error_model="numpy")
def _centred(state):
    """A uniform number in (-1/2, 1/2)."""
    return (np.float64(random_bits(state) >> _S11) + 0.5) * _UNIT - 0.5


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def add_normal(state, sd, values):
    """Add normal numbers of standard deviation sd to each row; return the next counter.

    The quantiles of uniform numbers, to 7 digits (Wichura 1988, algorithm AS 241, PPND7): one draw each, the
    middle 85 % in vector lanes.
    """
    for j in range(values.shape[0]):
        row = values[j]
        for b in range(row.size):
            q = _centred(state + np.uint64(b) * _STEP)
            r = _MIDDLE * _MIDDLE - q * q
            top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
            low = ((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0
            row[b] += sd * q * top / low if r >= 0.0 else 0.0
        for b in range(row.size):
            q = _centred(state + np.uint64(b) * _STEP)
            if _MIDDLE * _MIDDLE - q * q >= 0.0:
                continue
            r = math.sqrt(-math.log(0.5 - abs(q)))
            if r <= 5.0:
                r -= 1.6
                top = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
                low = (0.12021132975 * r + 0.73700164250) * r + 1.0
            else:
                r -= 5.0
                top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
                low = (0.012258202635 * r + 0.24197894225) * r + 1.0
            row[b] += math.copysign(sd * top / low, q)
        state += np.uint64(row.size) * _STEP
    return state


@njit(forceinline=True, cache=True, error_model="numpy")
def draw_examples(state, task, bits, values, target):
    """Draw a batch: values (n_inputs, batch) as shown to a network, target (batch,) 0 or 1."""
    chance, flip, parity, start, literal, shown, noise = task
    state = draw_bits(state, chance, bits[: chance.size])
    held, label = bits[chance.size], bits[chance.size + 1]
    label[:] = 0
    for t in range(start.size - 1):
        held[:] = 0 if parity else 1
        for at in range(start[t], start[t + 1]):
            j = literal[at]
            row, turn = (bits[j], 0) if j >= 0 else (bits[-1 - j], 1)
            if parity:
                for b in range(held.size):
                    held[b] ^= row[b] ^ turn
            else:
                for b in range(held.size):
                    held[b] &= row[b] ^ turn
        for b in range(held.size):
            label[b] |= held[b]
    if flip > np.uint64(0):
        for b in range(label.size):
            label[b] ^= random_bits(state + np.uint64(b) * _STEP) < flip
        state += np.uint64(label.size) * _STEP
    low, high = shown[0], shown[1]
    for j in range(values.shape[0]):
        row, out = bits[j], values[j]
        for b in range(row.size):
            out[b] = high if row[b] else low
    if noise > 0.0:
        state = add_normal(state, noise, values)
    for b in range(label.size):
        target[b] = label[b]
    return state


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def _product(w, x, out):
    """Set out to w x."""
    if w.shape[1] >= _BLAS_FROM:
        np.dot(w, x, out)
        return
    for i in range(w.shape[0]):
        row = out[i]
        weight, values = w[i, 0], x[0]
        for b in range(row.size):
            row[b] = weight * values[b]
        for j in range(1, w.shape[1]):
            weight, values = w[i, j], x[j]
            for b in range(row.size):
                row[b] += weight * values[b]


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def _product_transposed(d, x, out):
    """Set out to d x^T."""
    if x.shape[0] >= _BLAS_FROM:
        np.dot(d, x.T, out)
        return
    for i in range(d.shape[0]):
        row = d[i]
        for j in range(x.shape[0]):
            values = x[j]
            total = out.dtype.type(0)
            for b in range(row.size):
                total += row[b] * values[b]
            out[i, j] = total


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def forward(values, weights, biases, scales, hidden, logit, on_count):
    """Fill hidden layers, relu(scale (w x + b)), and the logit; count how often each hidden unit is on."""
    x = values
    first = 0
    for layer in range(len(hidden)):
        z, bias, scale = hidden[layer], biases[layer], scales[layer]
        _product(weights[layer], x, z)
        zero = z.dtype.type(0)
        for i in range(z.shape[0]):
            row, shift, factor = z[i], bias[i], scale[i]
            count = 0
            for b in range(row.size):
                u = (row[b] + shift) * factor
                count += u > zero
                row[b] = u if u > zero else zero
            on_count[first + i] = count
        first += z.shape[0]
        x = z
    w = weights[len(hidden)]
    logit[:] = biases[len(hidden)][0]
    for i in range(x.shape[0]):
        weight, row = w[0, i], x[i]
        for b in range(logit.size):
            logit[b] += weight * row[b]


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def loss_slope(logit, target, slope):
    """Fill the derivative of the mean logistic loss; return how many examples are classified rightly."""
    one, zero = slope.dtype.type(1), slope.dtype.type(0)
    share = one / slope.dtype.type(slope.size)
    right = 0
    for b in range(slope.size):
        u = logit[b]
        e = math.exp(-abs(u))
        on = (one if u > zero else e) / (one + e)
        slope[b] = share * (on - target[b])
        right += (u > zero) == (target[b] > zero)
    return right


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def backward(values, weights, scales, hidden, errors, slope, weight_slopes, bias_slopes):
    """Fill the derivatives of the loss; those by the pre-activations overwrite the hidden activations."""
    last = len(hidden) - 1
    top, top_slope, z, scale = weights[last + 1], weight_slopes[last + 1], hidden[last], scales[last]
    bias_slope = bias_slopes[last]
    zero = slope.dtype.type(0)
    total = zero
    for b in range(slope.size):
        total += slope[b]
    bias_slopes[last + 1][0] = total
    for i in range(z.shape[0]):
        row, weight = z[i], top[0, i] * scale[i]
        active, passed = zero, zero
        for b in range(row.size):
            a, d = row[b], slope[b]
            active += a * d
            g = d if a > zero else zero
            passed += g
            row[b] = weight * g
        top_slope[0, i] = active
        bias_slope[i] = weight * passed
    for layer in range(last, 0, -1):
        below, error = hidden[layer - 1], errors[layer - 1]
        _product_transposed(hidden[layer], below, weight_slopes[layer])
        np.dot(weights[layer].T, hidden[layer], error)
        scale, bias_slope = scales[layer - 1], bias_slopes[layer - 1]
        for i in range(below.shape[0]):
            row, back, factor = below[i], error[i], scale[i]
            passed = zero
            for b in range(row.size):
                g = back[b] * factor if row[b] > zero else zero
                row[b] = g
                passed += g
            bias_slope[i] = passed
    _product_transposed(hidden[0], values, weight_slopes[0])


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def adam(parameters, slope, mask, first, second, rates, step):
    """One step of Adam where the mask is 1; moments stay zero where it is 0."""
    rate, decay1, decay2, eps = rates[0], rates[1], rates[2], rates[3]
    kind = parameters.dtype.type
    one = kind(1)
    new1, new2 = one - decay1, one - decay2
    rate = kind(float(rate) / (1.0 - float(decay1) ** step))
    unbias = kind(1.0 / math.sqrt(1.0 - float(decay2) ** step))
    for p in range(parameters.size):
        g = slope[p] * mask[p]
        m = decay1 * first[p] + new1 * g
        v = decay2 * second[p] + new2 * (g * g)
        first[p] = m
        second[p] = v
        parameters[p] -= rate * m / (math.sqrt(v) * unbias + eps)


@njit(forceinline=True, cache=True, error_model="numpy", fastmath=_FAST)
def descend(parameters, slope, mask, rates):
    """One step of gradient descent where the mask is 1."""
    rate = rates[0]
    for p in range(parameters.size):
        parameters[p] -= rate * (slope[p] * mask[p])


@njit(cache=True, error_model="numpy")
def train(flat, views, buffers, task, rates, use_adam, average, ema_decay, state, done, n_steps):
    """Run optimizer steps done + 1 to done + n_steps on fresh examples; ``average`` follows the on-rates.

    Returns the counter of the random stream and the number of examples classified rightly.
    """
    parameters, slopes, mask, first, second = flat
    weights, biases, weight_slopes, bias_slopes, scales = views
    bits, values, target, logit, slope, hidden, errors, on_count = buffers
    share = (1.0 - ema_decay) / target.size
    right = 0
    for step in range(done + 1, done + n_steps + 1):
        state = draw_examples(state, task, bits, values, target)
        forward(values, weights, biases, scales, hidden, logit, on_count)
        right += loss_slope(logit, target, slope)
        backward(values, weights, scales, hidden, errors, slope, weight_slopes, bias_slopes)
        if use_adam:
            adam(parameters, slopes, mask, first, second, rates, step)
        else:
            descend(parameters, slopes, mask, rates)
        for i in range(average.size):
            average[i] = ema_decay * average[i] + share * on_count[i]
    return state, right
