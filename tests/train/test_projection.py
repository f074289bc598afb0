"""N:M and block masks: feasible, at the degree, and as good as the best of all masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from bbtheory.train import (
    keep_largest,
    measure_projection,
    measure_semi_structured,
    project_to_blocks,
    project_to_groups,
    to_semi_structured,
)

torch.set_num_threads(1)


def draw(shape, seed, tied=False):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weight.mul(2).round() if tied else weight


def group_sums(mask: torch.Tensor, m: int) -> torch.Tensor:
    padded = torch.nn.functional.pad(mask.int(), (0, -mask.shape[1] % m))
    return padded.reshape(mask.shape[0], -1, m).sum(2)


def test_two_of_four_by_hand():
    weight = torch.tensor([[9.0, -8.0, 7.0, 1.0, 0.1, 0.3, -0.2, 0.0]])
    kept = project_to_groups(weight, 3)
    assert kept.tolist() == [[True, True, False, False, False, True, False, False]]
    # free choice would have taken the third large weight of the first group
    assert keep_largest(weight, 3, magnitude=True).tolist()[0][:4] == [True, True, True, False]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("n_in", "n", "m"), [(8, 2, 4), (9, 2, 4), (7, 1, 3), (8, 4, 4), (10, 3, 5), (5, 2, 8)]
)
def test_groups_are_optimal(n_in, n, m, tied):
    weight = draw((n_in + 1, n_in), seed=n_in + n, tied=tied)
    degrees = torch.arange(n_in + 1)
    mask = project_to_groups(weight, degrees, n=n, m=m)
    everything = torch.tensor(list(itertools.product((False, True), repeat=n_in)))
    feasible = everything[(group_sums(everything, m) <= n).all(1)]
    capacity = int(feasible.sum(1).max())
    assert torch.equal(mask.sum(1), degrees.clamp(max=capacity))
    assert bool((group_sums(mask, m) <= n).all())
    for row, kept in zip(weight.abs(), mask, strict=True):
        rivals = feasible[feasible.sum(1) == kept.sum()]
        assert float(row[kept].sum()) == pytest.approx(float((rivals * row).sum(1).max()), rel=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_blocks_are_optimal(tied):
    generator = torch.Generator().manual_seed(3)
    for b_out, b_in in ((2, 2), (3, 4), (1, 3), (2, 1)):
        n_out, n_in = 4 * b_out, 4 * b_in
        weight = draw((n_out, n_in), seed=b_out, tied=tied)
        degrees = torch.randint(0, n_in + 1, (n_out,), generator=generator)
        mask = project_to_blocks(weight, degrees, block=(b_out, b_in))
        blocks = mask.reshape(4, b_out, 4, b_in)
        assert bool((blocks == blocks[:, :1, :, :1]).all())
        values = weight.abs().reshape(4, b_out, 4, b_in).sum((1, 3))
        for line, wanted, value in zip(blocks[:, 0, :, 0], degrees.reshape(4, b_out), values, strict=True):
            misses = [int((q * b_in - wanted).abs().sum()) for q in range(5)]
            q = int(line.sum())
            assert misses[q] == min(misses)
            assert q == misses.index(min(misses))
            best = max(sum(c) for c in itertools.combinations(value.tolist(), q))
            assert float(value[line].sum()) == pytest.approx(best, rel=1e-12)


def test_ties_go_to_the_lowest_index():
    ones = torch.ones(1, 8)
    assert project_to_groups(ones, 3).tolist() == [[True, True, False, False, True, False, False, False]]
    assert project_to_blocks(ones, 4, block=(1, 2)).tolist() == [[True] * 4 + [False] * 4]


def test_report_by_hand():
    weight = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    mask = project_to_groups(weight, torch.tensor([3, 1]))
    found = measure_projection(weight, mask, torch.tensor([3, 1]), on_rate=torch.tensor([0.1, 0.4]))
    assert found.target.tolist() == [3, 1]
    assert found.degree.tolist() == [2, 1]
    assert found.deviation.tolist() == [-1, 0]
    assert (found.mean_deviation, found.max_deviation, found.density) == (0.5, 1, 3 / 8)
    assert found.kept_magnitude == 8 / 14
    assert found.free_magnitude == 10 / 14
    assert found.kept_of_free == pytest.approx(0.8)
    rise = math.log(9) - math.log(1.5)
    assert found.target_slope == pytest.approx(rise / 2, rel=1e-6)  # the on-rates are float32
    assert found.slope == pytest.approx(rise, rel=1e-6)
    assert list(found.to_frame().columns) == ["target", "degree", "deviation"]


def test_report_at_the_limits():
    weight = torch.zeros(3, 4)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    found = measure_projection(weight, mask, 0)
    assert math.isnan(found.kept_magnitude)
    assert math.isnan(found.kept_of_free)
    assert math.isnan(found.slope)
    assert found.density == 0.0
    # dead and saturated units are left out of the slope
    dead = measure_projection(weight, mask, torch.tensor([1, 2, 3]), on_rate=torch.tensor([0.0, 0.5, 1.0]))
    assert math.isnan(dead.target_slope)
    assert math.isnan(measure_projection(weight, mask, 1, on_rate=torch.zeros(3)).slope)


def test_balance_survives_where_the_pattern_has_room():
    # degrees on a line of the log-odds: unchanged below the capacity, flattened above it
    beta, d0, n_in = 0.05, 20.0, 128
    wanted = torch.arange(8, 120)
    on_rate = 1.0 / (1.0 + torch.exp(beta * (wanted.double() - d0)))
    weight = draw((len(wanted), n_in), seed=5)
    room = wanted <= n_in // 2
    low = measure_projection(
        weight[room], project_to_groups(weight[room], wanted[room]), wanted[room], on_rate[room]
    )
    assert low.target_slope == pytest.approx(beta, rel=1e-9)
    assert low.slope == pytest.approx(beta, rel=1e-9)
    assert low.max_deviation == 0
    assert low.kept_of_free < 1.0
    whole = measure_projection(weight, project_to_groups(weight, wanted), wanted, on_rate)
    assert whole.slope > 1.2 * beta
    assert np.array_equal(whole.degree, np.minimum(wanted.numpy(), n_in // 2))


W = torch.ones(4, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: project_to_groups(W, 3, n=5, m=4), r"n must be an integer in \[1, 4\], got 5"),
        (lambda: project_to_groups(W, 3, m=0), "m must be an integer in"),
        (lambda: project_to_groups(W, 9), r"degrees must be an integer in \[0, 8\], got 9"),
        (lambda: project_to_groups(W[0], 1), "weight must have 2 axes"),
        (lambda: project_to_groups([[1.0]], 1), "weight must be a Tensor"),
        (lambda: project_to_groups(W * float("nan"), 1), "got nan"),
        (lambda: project_to_blocks(W, 3, block=(3, 4)), r"block must divide the weights' shape \(4, 8\)"),
        (lambda: project_to_blocks(W, 3, block=4), "block must be two integers"),
        (lambda: project_to_blocks(W, 3, block=(0, 4)), "block must be an integer in"),
        (
            lambda: project_to_blocks(W, torch.ones(3, dtype=torch.int64), block=(2, 2)),
            "degrees must have shape",
        ),
        (lambda: measure_projection(W, W, 1), "mask must be bool of shape"),
        (lambda: measure_projection(W, W[:2] > 0, 1), "mask must be bool of shape"),
        (lambda: measure_projection(W, W > 0, 1, on_rate=torch.full((4,), 1.5)), "on_rate must be"),
        (lambda: measure_projection(W, W > 0, 1, on_rate=torch.ones(3)), "on_rate must have shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


HALF = torch.ones(32, 64, dtype=torch.bfloat16)
TWO_OF_FOUR = torch.tensor([True, False, True, False]).repeat(32, 16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_semi_structured(HALF, HALF > 0), "mask must keep at most 2 of every 4 neighbours, got 4"),
        (lambda: to_semi_structured(HALF[:30], TWO_OF_FOUR[:30]), "weight must have a multiple of 32 rows"),
        (lambda: to_semi_structured(HALF[:, :32], TWO_OF_FOUR[:, :32]), "and of 64 columns"),
        (lambda: to_semi_structured(HALF.float(), TWO_OF_FOUR), "weight must be float16 or bfloat16"),
        (lambda: to_semi_structured(HALF, TWO_OF_FOUR), "weight must be on a CUDA device"),
        (lambda: to_semi_structured(HALF, TWO_OF_FOUR.int()), "mask must be bool"),
        (lambda: measure_semi_structured(HALF, TWO_OF_FOUR, 100), "n_inputs must be a multiple of 64"),
        (lambda: measure_semi_structured(HALF, TWO_OF_FOUR), "weight must be on a CUDA device"),
    ],
)
def test_semi_structured_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.gpu
def test_semi_structured_computes_the_same():
    weight = torch.randn(1024, 2048, dtype=torch.bfloat16, device="cuda")
    mask = project_to_groups(weight, 700)
    found = measure_semi_structured(weight, mask, 512, n_repeats=7)
    assert found.difference < 2.0**-7  # one rounding of a bfloat16
    assert found.sparse_s > 0.0
    assert found.low <= found.ratio <= found.high
