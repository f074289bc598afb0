"""Exact selection: the largest so many, ties to the lowest index, the same by every road."""

from __future__ import annotations

import pytest
import torch

from bbtheory.train import keep_largest, keep_largest_overall, selection
from experiments.bench_mask_refresh import loop_over_rows

torch.set_num_threads(1)

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INF = float("inf")
SPECIAL = torch.tensor(
    [
        0.0,
        -0.0,
        INF,
        -INF,
        5e-324,
        -5e-324,
        1e-45,
        -1e-45,
        6e-8,
        -6e-8,
        1.0,
        -1.0,
        65504.0,
        -65504.0,
        1e38,
        1e308,
    ],
    dtype=torch.float64,
)


def gaussian(shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def hostile(shape, generator):
    return SPECIAL[torch.randint(len(SPECIAL), shape, generator=generator)]


def tied(shape, generator):
    return torch.randn(shape, generator=generator).mul(2).round()


def equal(shape, generator):
    return torch.full(shape, -3.0)


def zero(shape, generator):
    return torch.zeros(shape) * torch.randn(shape, generator=generator).sign()


def heavy(shape, generator):
    return torch.empty(shape, dtype=torch.float64).cauchy_(generator=generator) ** 3


KINDS = (gaussian, hostile, tied, equal, zero, heavy)


def by_definition(score: torch.Tensor, counts: list[int], magnitude: bool) -> torch.Tensor:
    """Row by row, Python's stable sort of Python's floats."""
    mask = torch.zeros(score.shape, dtype=torch.bool)
    for r, count in enumerate(counts):
        row = [abs(x) if magnitude else x for x in score[r].tolist()]
        for i in sorted(range(len(row)), key=lambda i, row=row: -row[i])[:count]:
            mask[r, i] = True
    return mask


def draw_counts(n_lines: int, n: int, generator) -> torch.Tensor:
    counts = torch.randint(0, n + 1, (n_lines,), generator=generator)
    counts[0], counts[-1] = 0, n
    return counts


@pytest.fixture(params=["compiled", "plain"])
def road(request, monkeypatch):
    """The compiled loops also on small tensors, or plain tensor operations also on large ones."""
    monkeypatch.setattr(selection, "_SMALL", 0 if request.param == "compiled" else 1 << 60)
    return request.param


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_columns_are_exact(kind, dtype, road):
    generator = torch.Generator().manual_seed(1)
    for shape in ((7, 41), (40, 5), (3, 1), (1, 70)):
        score = kind(shape, generator).to(dtype)
        before = score.clone()
        for magnitude in (False, True):
            counts = draw_counts(shape[0], shape[1], generator)
            want = by_definition(score, counts.tolist(), magnitude)
            assert torch.equal(keep_largest(score, counts, magnitude=magnitude), want)
            assert torch.equal(keep_largest(score.t(), counts, dim=0, magnitude=magnitude), want.t())
            # columns of memory, not of a transposed view
            turned = score.t().contiguous()
            assert torch.equal(keep_largest(turned, counts, dim=0, magnitude=magnitude), want.t())
            # neither the tensor nor its transpose is contiguous
            wide = torch.stack([score, score], dim=2)[:, :, 0]
            assert torch.equal(keep_largest(wide, counts.to(torch.int32), magnitude=magnitude), want)
        assert torch.equal(score.view(selection._BITS[dtype]), before.view(selection._BITS[dtype]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_overall_is_exact(kind, dtype, road):
    generator = torch.Generator().manual_seed(2)
    shapes = ((5, 9), (31,), (2, 3, 4), (1, 1))
    for magnitude in (False, True):
        scores = [kind(shape, generator).to(dtype) for shape in shapes]
        flat = torch.cat([score.reshape(-1) for score in scores])[None]
        for count in (0, 1, 30, 77, flat.numel() - 1, flat.numel()):
            masks = keep_largest_overall(scores, count, magnitude=magnitude)
            assert [mask.shape for mask in masks] == [score.shape for score in scores]
            got = torch.cat([mask.reshape(-1) for mask in masks])
            assert torch.equal(got, by_definition(flat, [count], magnitude)[0])


def test_overall_compares_types_by_value(road):
    scores = [
        torch.tensor([1.0, 3.0], dtype=torch.bfloat16),
        torch.tensor([2.0, 1.0 + 1e-12], dtype=torch.float64),
    ]
    scores.append(torch.tensor([1.0, -5.0], dtype=torch.float16))
    assert [m.tolist() for m in keep_largest_overall(scores, 4)] == [
        [True, True],
        [True, True],
        [False, False],
    ]
    kept = keep_largest_overall(scores, 2, magnitude=True)
    assert [m.tolist() for m in kept] == [[False, True], [False, False], [False, True]]


def test_roads_agree_on_a_layer():
    # large enough for the compiled loops by themselves, with whole and broken tiles of columns
    generator = torch.Generator().manual_seed(3)
    for kind in (gaussian, tied, heavy):
        score = kind((150, 333), generator).float()
        assert score.numel() >= selection._SMALL
        for dim in (0, 1):
            counts = draw_counts(score.shape[1 - dim], score.shape[dim], generator)
            plain = torch.empty(score.shape, dtype=torch.bool)
            assert selection._sort(score, counts, dim, True, plain) == -1
            kept = keep_largest(score, counts, dim=dim, magnitude=True)
            assert torch.equal(kept, plain)
            assert torch.equal(kept.sum(dim), counts)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("magnitude", [True, False])
def test_two_halves_compete_as_their_sum(kind, dtype, magnitude, road):
    generator = torch.Generator().manual_seed(9)
    score = kind((37, 53), generator).to(dtype)
    here = torch.rand(score.shape, generator=generator) < 0.4
    # a weight that was cut by a product with 0 is -0 where it was negative
    nothing = torch.zeros_like(score).copysign(score)
    first, second = torch.where(here, score, nothing), torch.where(here, nothing, score)
    for dim in (0, 1):
        counts = draw_counts(score.shape[1 - dim], score.shape[dim], generator)
        wanted = keep_largest(score, counts, dim=dim, magnitude=magnitude)
        for one, other in ((first, second), (first.t().contiguous().t(), second)):
            got = keep_largest(one, counts, dim=dim, magnitude=magnitude, other=other)
            assert torch.equal(got, wanted)


def test_writes_into_out(road):
    score = torch.randn(6, 8, generator=torch.Generator().manual_seed(4))
    want = keep_largest(score, 3)
    for out in (torch.zeros(6, 8, dtype=torch.bool), torch.zeros(8, 6, dtype=torch.bool).t()):
        for given in (score, score.t().contiguous().t()):
            assert keep_largest(given, 3, out=out.fill_(False)) is out
            assert torch.equal(out, want)
    parameter = torch.nn.Parameter(score)
    assert torch.equal(keep_largest(parameter, 3), want)


def test_empty_tensors():
    assert keep_largest(torch.empty(0, 4), 2).shape == (0, 4)
    assert keep_largest(torch.empty(3, 0), 0).shape == (3, 0)
    assert [m.numel() for m in keep_largest_overall([torch.empty(0), torch.ones(2)], 1)] == [0, 2]


def test_the_authors_loop_is_wrong_as_published():
    # the control: an unsorted topk, cut short, does not pass what the selection passes
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(64, 1024, generator=generator)
    counts = torch.randint(16, 512, (64,), generator=generator)
    right = keep_largest(weight, counts, magnitude=True)
    assert torch.equal(loop_over_rows(weight, counts, in_order=True), right)
    wrong = loop_over_rows(weight, counts, in_order=False)
    assert torch.equal(wrong.sum(1), counts)
    assert (wrong != right).any(1).float().mean() > 0.8


ONES = torch.ones(2, 3)
NAN = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, float("nan")]])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((ONES.int(), 1), {}, "score must be float64, float32, bfloat16 or float16, got torch.int32"),
        (([[1.0]], 1), {}, "score must be a Tensor, got list"),
        ((ONES[0], 1), {}, "score must have 2 axes"),
        ((ONES, 1), {"dim": 2}, r"dim must be an integer in \[0, 1\], got 2"),
        ((ONES, 4), {}, r"counts must be an integer in \[0, 3\], got 4"),
        ((ONES, 3), {"dim": 0}, r"counts must be an integer in \[0, 2\], got 3"),
        ((ONES, torch.tensor([1, 4])), {}, r"counts must be integers in \[0, 3\], got 4"),
        ((ONES, torch.tensor([-1, 1])), {}, r"counts must be integers in \[0, 3\], got -1"),
        ((ONES, torch.tensor([1.0, 1.0])), {}, "counts must be integers, got torch.float32"),
        ((ONES, torch.tensor([True, True])), {}, "counts must be integers, got torch.bool"),
        ((ONES, torch.tensor([1, 1, 1])), {}, r"counts must have shape \(2,\), got \(3,\)"),
        ((ONES, 1), {"out": torch.ones(2, 3)}, "out must be a bool tensor"),
        ((ONES, 1), {"out": torch.ones(3, 2, dtype=torch.bool)}, "out must be a bool tensor"),
        ((ONES, 1), {"other": ONES[:1]}, "other must be as score is"),
        ((NAN, 1), {"magnitude": True, "other": 0 * ONES}, "score must be numbers, got nan in row 1"),
        ((NAN, 1), {}, "score must be numbers, got nan in row 1"),
        ((-NAN, 1), {}, "score must be numbers, got nan in row 1"),
        ((NAN, 1), {"magnitude": True}, "score must be numbers, got nan in row 1"),
        ((NAN, 1), {"dim": 0}, "score must be numbers, got nan in column 2"),
        ((NAN.t(), 1), {}, "score must be numbers, got nan in row 2"),
        ((NAN.t(), 1), {"dim": 0}, "score must be numbers, got nan in column 1"),
    ],
)
def test_bad_input(arguments, options, message, road):
    with pytest.raises(ValueError, match=message):
        keep_largest(*arguments, **options)


@pytest.mark.parametrize(
    ("scores", "count", "message"),
    [
        ([], 0, "scores must hold at least one tensor"),
        ([ONES, ONES.int()], 1, r"scores\[1\] must be float64"),
        ([ONES, ONES], 13, r"count must be an integer in \[0, 12\], got 13"),
        ([ONES, ONES], -1, r"count must be an integer in \[0, 12\], got -1"),
        ([ONES, NAN], 1, r"scores\[1\] must be numbers, got nan"),
        ([ONES, -NAN], 1, r"scores\[1\] must be numbers, got nan"),
    ],
)
def test_bad_input_overall(scores, count, message, road):
    with pytest.raises(ValueError, match=message):
        keep_largest_overall(scores, count)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_agrees_with_the_cpu(kind, dtype):
    generator = torch.Generator().manual_seed(6)
    for shape in ((300, 1000), (257, 4096), (5, 1), (3, 40_000)):  # the last is too long for registers
        score = kind(shape, generator).to(dtype)
        for dim in (0, 1):
            counts = draw_counts(shape[1 - dim], shape[dim], generator)
            for magnitude in (False, True):
                want = keep_largest(score, counts, dim=dim, magnitude=magnitude)
                got = keep_largest(score.cuda(), counts.cuda(), dim=dim, magnitude=magnitude)
                assert torch.equal(got.cpu(), want)
        want = keep_largest_overall([score, score[:1]], score.numel() // 3)
        got = keep_largest_overall([score.cuda(), score[:1].cuda()], score.numel() // 3)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(got, want, strict=True))


@pytest.mark.gpu
def test_cuda_refuses_nan():
    with pytest.raises(ValueError, match="nan in row 1"):
        keep_largest(NAN.cuda(), 1)
    with pytest.raises(ValueError, match="nan in column 2"):
        keep_largest(NAN.cuda(), 1, dim=0)
