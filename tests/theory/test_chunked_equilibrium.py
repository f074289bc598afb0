import io
import math
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from scipy import special

from bbtheory import ConvergenceError, InfeasibleError, solve_chunked, solve_equilibrium
from bbtheory.theory import chunk_census, chunk_kernel, chunk_search, chunks, dual
from bbtheory.theory.chunked_equilibrium import ChunkedEquilibrium
from bbtheory.theory.chunks import Chunks
from bbtheory.theory.entropy import coding_entropy
from kkt import assert_kkt

# the same as of the solver in memory; what is measured is 1e-15
RESIDUAL = 1e-13


def heavy(n, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).lognormal(math.log(10), 0.7, n).astype(dtype)


@pytest.fixture
def in_chunks(monkeypatch):
    """Small chunks, so that small populations have many."""
    monkeypatch.setattr(chunks, "SIZE", 100)
    monkeypatch.setattr(chunk_census, "SIZE", 100)
    monkeypatch.setattr(chunk_search, "SIZE", 100)


def assert_same(chunked, whole):
    """The same answer as in memory, to the rounding of sums in another order."""
    assert chunked.status == whole.status
    for name in ("beta", "budget", "traffic", "coding_entropy", "dtraffic_dbeta"):
        assert getattr(chunked, name) == pytest.approx(getattr(whole, name), rel=1e-12), name
    for name in ("n_units", "n_silent", "n_underflow"):
        assert getattr(chunked, name) == getattr(whole, name), name
    assert max(chunked.residuals.stationarity, chunked.residuals.budget) < RESIDUAL


# exact


def test_two_equal_units_by_hand():
    e = solve_chunked([4.0, 4.0], budget=1.0)
    assert e.on_rate([4, 4]).tolist() == pytest.approx([0.125, 0.125], rel=1e-14)
    assert e.beta == pytest.approx(math.log(7) / 4, rel=1e-14)
    assert (e.status, e.n_units, e.traffic) == ("converged", 2, pytest.approx(1.0))


# law


@pytest.mark.parametrize("share", [0.49, 0.2, 1e-3])
@pytest.mark.parametrize("bounded", [False, True])
def test_optimality_conditions(in_chunks, tmp_path, share, bounded):
    k = heavy(350)
    low, high = (0.001, 0.3) if bounded else (0.0, 1.0)
    least, most = low * k.sum(), min(0.5, high) * k.sum()
    budget = float(least + share * (most - least))
    e = solve_chunked(k, budget=budget, lower=low, upper=high, output=tmp_path / "a.npy")
    written = np.load(tmp_path / "a.npy")
    assert_kkt(written, k, budget, e.beta, low, high)
    np.testing.assert_allclose(e.on_rate(k), written, rtol=1e-13)
    # the record's sums are those of what was written
    assert e.traffic == pytest.approx(math.fsum(k * written), rel=1e-15)
    assert e.coding_entropy == pytest.approx(coding_entropy(written), rel=1e-13)


def test_on_rates_are_written_once_however_long_the_search(in_chunks, monkeypatch, tmp_path):
    monkeypatch.setattr(chunk_search, "_LAST_STEP", 1.0)  # every step is taken for the last
    k = heavy(350)
    e = solve_chunked(k, budget=1e-3 * float(k.sum()), lower=1e-5, upper=0.3, output=tmp_path / "a.npy")
    assert e.n_passes > 3
    assert (tmp_path / "a.npy").stat().st_size == 128 + 8 * 350
    without = solve_chunked(k, budget=1e-3 * float(k.sum()), lower=1e-5, upper=0.3)
    assert without.beta == pytest.approx(e.beta, rel=1e-13)


# two roads: in memory, and chunk by chunk


@pytest.mark.parametrize("kind", ["reals", "float32", "uint16", "wide integers", "equal", "spread", "sorted"])
@pytest.mark.parametrize("given", ["budget", "tiny budget", "beta", "bounds", "no need"])
@pytest.mark.filterwarnings("ignore:the budget .* does not bind")
def test_against_the_solver_in_memory(in_chunks, kind, given):
    k = {
        "reals": heavy(3000),
        "float32": heavy(3000, dtype=np.float32),
        "uint16": np.random.default_rng(0).integers(0, 200, 3000).astype(np.uint16),
        "wide integers": np.random.default_rng(0).integers(0, 2**40, 3000),
        "equal": np.full(3000, 7.5),
        "spread": np.logspace(-3, 6, 3000),
        "sorted": np.sort(heavy(3000)),
    }[kind]
    total = float(k.astype(float).sum())
    arguments = {
        "budget": {"budget": 0.2 * total},
        "tiny budget": {"budget": 1e-9 * total},
        "beta": {"beta": 3.0 / float(k.astype(float).mean())},
        "bounds": {"budget": 0.2 * total, "lower": 1e-3, "upper": 0.3},
        "no need": {"budget": total},
    }[given]
    e = solve_chunked(k, **arguments)
    assert_same(e, solve_equilibrium(k, **arguments))
    assert (e.n_distinct > 0) == (kind == "uint16")
    assert (e.least_fan_out, e.largest_fan_out) == (k.min(), k.max())
    assert e.mean_fan_out == pytest.approx(total / 3000)


def test_a_million_units_in_a_file(tmp_path):
    k = heavy(1_000_000, dtype=np.float32)
    np.save(tmp_path / "k.npy", k)
    budget = 0.2 * float(k.sum(dtype=float))
    e = solve_chunked(tmp_path / "k.npy", budget=budget, output=tmp_path / "a.npy")
    whole = solve_equilibrium(k, budget=budget)
    assert_same(e, whole)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), whole.on_rate, rtol=1e-11)
    assert solve_chunked(tmp_path / "k.npy", budget=budget).n_passes == 3


def test_whole_fan_outs_are_read_once(tmp_path):
    k = np.rint(heavy(1_000_000)).astype(np.uint8)
    np.save(tmp_path / "k.npy", k)
    budget = 0.2 * float(k.sum(dtype=float))
    e = solve_chunked(tmp_path / "k.npy", budget=budget)
    assert_same(e, solve_equilibrium(k, budget=budget))
    assert (e.n_passes, e.n_distinct) == (1, np.unique(k).size)
    again = solve_chunked(tmp_path / "k.npy", budget=budget, output=tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), again.on_rate(k))


def test_what_is_counted():
    top = chunk_census.LARGEST_COUNTED
    assert solve_chunked([1, top, top], budget=1.0).n_distinct == 2
    for k in ([1, top + 1], [1.0, 2.0], [top + 1, 1]):
        e = solve_chunked(k, budget=1.0)
        assert e.n_distinct == 0
        assert_same(e, solve_equilibrium(k, budget=1.0))


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i4", "u8", "<f2", ">f4", "<f4", ">f8", "g"])
def test_every_dtype(tmp_path, dtype):
    k = np.arange(1, 101).astype(dtype)
    np.save(tmp_path / "k.npy", k)
    expected = solve_equilibrium(np.arange(1, 101), budget=100.0).beta
    assert solve_chunked(tmp_path / "k.npy", budget=100.0).beta == pytest.approx(expected, rel=1e-13)


def test_a_start_that_is_far_off_is_found_out(in_chunks, monkeypatch):
    # the few units that carry all traffic fall between those of the sample
    k = np.ones(3000)
    k[5::100] = 1e6
    monkeypatch.setattr(chunk_census, "_SAMPLE", 30)
    e = solve_chunked(k, budget=2000.0)
    assert_same(e, solve_equilibrium(k, budget=2000.0))
    assert e.n_passes > 3
    silent = np.where(np.arange(3000) % 100 == 5, 5.0, 0.0)
    assert_same(solve_chunked(silent, budget=20.0), solve_equilibrium(silent, budget=20.0))


# what is read


def test_sources_read_alike(in_chunks, tmp_path):
    k = heavy(1050)
    np.save(tmp_path / "k.npy", k)
    mapped = np.load(tmp_path / "k.npy", mmap_mode="r")
    expected = solve_chunked(k, budget=900.0)
    every_other = np.repeat(k, 2)[::2]
    for source in (tmp_path / "k.npy", str(tmp_path / "k.npy"), mapped, k.tolist(), Chunks(k), every_other):
        assert solve_chunked(source, budget=900.0) == expected
    assert Chunks(mapped).path == tmp_path / "k.npy"
    part = Chunks(mapped[50:])  # a part of a map is no whole file
    assert part.path is None
    assert solve_chunked(part, budget=900.0) == solve_chunked(k[50:], budget=900.0)


def test_dask_arrays_are_computed_once_a_pass(in_chunks):
    array = pytest.importorskip("dask.array", reason="needs the extra cluster")
    k, computed = heavy(1050), []

    def look(block):
        if block.size:  # dask tries a function on an empty block first
            computed.append(block.size)
        return block

    lazy = array.from_array(k, chunks=300).map_blocks(look, meta=np.empty(0))
    e = solve_chunked(lazy, budget=900.0)
    assert_same(e, solve_equilibrium(k, budget=900.0))
    assert sorted(set(computed)) == [150, 300]
    assert len(computed) == 4 * e.n_passes
    with pytest.raises(ValueError, match="fan_out must have chunks of known sizes"):
        solve_chunked(lazy[lazy > 5], budget=900.0)


def test_progress_counts_what_is_read(in_chunks):
    read = []
    source = Chunks(heavy(1050))
    source.on_read = read.append
    e = solve_chunked(source, budget=900.0)
    assert sum(read) == 1050 * e.n_passes


def test_a_file_cut_short_while_it_is_read(in_chunks, tmp_path):
    np.save(tmp_path / "k.npy", heavy(1050))
    source = Chunks(tmp_path / "k.npy")
    (tmp_path / "k.npy").write_bytes((tmp_path / "k.npy").read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"k\.npy must hold 1,050 numbers, it was cut short"):
        solve_chunked(source, budget=900.0, output=tmp_path / "a.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["k.npy"], "no unfinished output is left"


MEMORY = """
import sys, re
from bbtheory import solve_chunked
solve_chunked(sys.argv[1], budget=float(sys.argv[2]), output=sys.argv[3])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory from /proc")
@pytest.mark.parametrize("dtype", ["float64", pytest.param("uint16", marks=pytest.mark.slow)])
def test_memory_does_not_grow(tmp_path, dtype):
    peaks, part = [], heavy(1_000_000)
    for n in (100_000, 10_000_000):
        k = np.resize(part, n).astype(dtype)
        np.save(tmp_path / "k.npy", k)
        budget = str(0.2 * float(k.sum(dtype=float)))
        run = [sys.executable, "-c", MEMORY, str(tmp_path / "k.npy"), budget, str(tmp_path / "a.npy")]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
        assert (tmp_path / "a.npy").stat().st_size == 128 + 8 * n
    small, large = peaks
    # the files are 80 MB each; the sample takes 5 MB and its solution a few times that
    assert large < small + 60
    assert large < 1024


# limits


def test_a_budget_that_does_not_bind():
    with pytest.warns(
        UserWarning, match="the budget 100 does not bind: without it the population carries 1.5"
    ):
        e = solve_chunked([1.0, 2.0], budget=100)
    assert (e.status, e.beta, e.traffic) == ("budget_not_binding", 0.0, 1.5)
    assert (e.residuals.stationarity, e.residuals.budget) == (0.0, 0.0)


def test_underflow_is_counted():
    e = solve_chunked([1.0, 10.0], beta=100.0)
    assert (e.n_underflow, e.on_rate(10)) == (1, 0.0)
    assert e.residuals.stationarity < RESIDUAL
    e = solve_chunked([0.0, 1.0, 2.0], beta=1e308)
    assert (e.budget, e.n_underflow, e.n_silent) == (0.0, 2, 1)
    assert e.coding_entropy == pytest.approx(math.log(2))
    assert e.on_rate([0, 2]).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("k", [[1.0, 2.0, 3.0], [1, 2, 3]])
def test_bounds_that_leave_no_choice(k):
    e = solve_chunked(k, budget=0.6, lower=0.1)
    assert e.on_rate(k).tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert e.residuals.stationarity < RESIDUAL
    fixed = solve_chunked(k, beta=1.0, lower=0.7, upper=0.7)
    assert fixed.coding_entropy == pytest.approx(coding_entropy([0.7] * 3))
    assert fixed.dtraffic_dbeta == 0.0
    assert solve_chunked(k, beta=1.0, lower=1.0).coding_entropy == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_units_of_cost_do_not_matter(scale):
    k = heavy(30)
    e = solve_chunked(k * scale, budget=50.0 * scale)
    assert e.beta * scale == pytest.approx(solve_equilibrium(k, budget=50.0).beta, rel=1e-12)


@pytest.mark.parametrize("k", [[1.0, 2.0], [1, 2]])
def test_a_budget_below_the_lower_bounds_is_infeasible(k):
    with pytest.raises(InfeasibleError, match=r"budget must be at least 0\.3.* got 0\.1") as error:
        solve_chunked(k, budget=0.1, lower=0.1)
    assert isinstance(error.value.record, ChunkedEquilibrium)
    assert error.value.record.status == "infeasible"
    assert error.value.record.residuals.budget == pytest.approx(2.0)


@pytest.mark.parametrize("integers", [False, True])
def test_an_unfinished_search_raises_with_its_record(monkeypatch, integers):
    monkeypatch.setattr(dual, "MAX_ITERATIONS", 1)
    k = np.rint(heavy(100)).astype(int) if integers else heavy(100)
    with pytest.raises(ConvergenceError, match="misses the budget") as error:
        solve_chunked(k, budget=50.0)
    assert isinstance(error.value.record, ChunkedEquilibrium)
    assert error.value.record.status == "not_converged"


def test_record_round_trips(tmp_path):
    e = solve_chunked(heavy(30), budget=50.0)
    e.save(tmp_path / "e.json")
    assert ChunkedEquilibrium.load(tmp_path / "e.json") == e
    public = e.to_dict()
    assert (public["kind"], public["price_of_traffic"]) == ("chunked_equilibrium", e.beta)
    assert set(public["residuals"]) == {"stationarity", "budget"}


# compiled parts


@njit
def _each(x, silence):  # pragma: no cover - compiled
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = chunk_kernel.minus_log_of_silence(x[i]) if silence else chunk_kernel.log_of(x[i])
    return out


def test_logarithms():
    rng = np.random.default_rng(0)
    x = np.concatenate([10 ** rng.uniform(-300, 300, 10_000), rng.uniform(0.5, 2, 10_000)])
    x = np.append(x, [1.0, math.sqrt(0.5), math.sqrt(2), np.finfo(float).tiny, np.finfo(float).max])
    np.testing.assert_allclose(_each(x, False), np.log(x), rtol=4 * np.finfo(float).eps)
    a = np.concatenate([10 ** rng.uniform(-300, -0.3, 10_000), rng.uniform(0, 0.999, 10_000), [0.0]])
    np.testing.assert_allclose(_each(a, True), -np.log1p(-a), rtol=4 * np.finfo(float).eps)


def test_the_certificate_is_that_of_the_on_rates():
    k, out = heavy(5000), np.empty(5000)
    x = 0.3 * k
    s, s1, _, _, entropy, n_underflow, worst = chunk_kernel.certify_chunk(k, 1.0, 0.3, 0.0, 1.0, out)
    np.testing.assert_allclose(out, special.expit(-x), rtol=1e-14)
    by_numpy = np.max(np.abs(np.log1p(-out) - np.log(out) - x) / np.maximum(1, x))
    # among 5000 roundings some are not 0: a residual that is 0 was not computed
    assert 1e-17 < worst < RESIDUAL
    assert by_numpy < RESIDUAL
    assert entropy == pytest.approx(coding_entropy(out), rel=1e-14)
    assert (s, s1) == pytest.approx((math.fsum(k * out), math.fsum(k**2 * out * (1 - out))), rel=1e-14)
    assert n_underflow == 0
    # units on a bound count where they want to leave it: none of these does
    *_, held = chunk_kernel.certify_chunk(k, 1.0, 0.3, 0.2, 0.2 + 1e-12, out)
    assert held < RESIDUAL


# bad input

BAD = [
    ({"fan_out": [], "beta": 1}, "fan_out must not be empty"),
    (
        {"fan_out": [1, np.nan], "beta": 1},
        r"fan_out must be finite numbers in \[0, inf\), got nan at index 1",
    ),
    ({"fan_out": [1, np.inf], "beta": 1}, "got inf at index 1"),
    ({"fan_out": [1, -1], "beta": 1}, "got -1 at index 1"),
    ({"fan_out": np.r_[np.ones(300_000), -1], "beta": 1}, r"got -1\.0 at index 300000"),
    ({"fan_out": ["a"], "beta": 1}, "fan_out must be an array of real numbers"),
    ({"fan_out": [True], "beta": 1}, "got dtype bool"),
    ({"fan_out": [[1]], "beta": 1}, r"fan_out must have 1 axis, got shape \(1, 1\)"),
    ({"fan_out": 3, "beta": 1}, r"fan_out must have 1 axis, got shape \(\)"),
    ({"fan_out": np.ma.masked_equal([1, 2], 2), "beta": 1}, "fan_out must have no masked elements"),
    ({"fan_out": [0, 0], "beta": 1}, "got only zeros"),
    ({"fan_out": [0.0, 0.0], "budget": 1}, "got only zeros"),
    ({"fan_out": [1e308] * 3, "beta": 1}, "finite sum"),
    ({"fan_out": [1]}, "exactly one of beta or budget must be given, got none"),
    ({"fan_out": [1], "beta": 1, "budget": 1}, "got beta and budget"),
    ({"fan_out": [1], "beta": -1}, r"beta must be a number in \[0, inf\), got -1"),
    ({"fan_out": [1], "budget": 0}, r"budget must be a number in \(0, inf\), got 0"),
    ({"fan_out": [1], "budget": np.nan}, "budget must be a number"),
    ({"fan_out": [1.0], "budget": 1e-300}, "budget must be at least 1e-290"),
    ({"fan_out": [1], "budget": 1, "lower": [0.1]}, "lower must be a number"),
    (
        {"fan_out": [1], "budget": 1, "lower": 0.5, "upper": 0.4},
        r"lower must not exceed upper, got 0\.5 > 0\.4",
    ),
    ({"fan_out": [1], "budget": 1, "upper": 1.5}, r"upper must be a number in \[0, 1\], got 1\.5"),
    ({"fan_out": [1], "beta": 1, "output": "a.csv"}, r"output must be a \.npy file, got 'a\.csv'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve_chunked(**arguments)


def npy(**header):
    """Return the bytes of a file with this header and no values."""
    out = io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": (10,)} | header
    np.lib.format.write_array_header_1_0(out, fields)
    return out.getvalue()


FILES = {
    "nothing": (b"", "must be a .npy file with an array"),
    "text": (b"1\n2\n", "must be a .npy file with an array"),
    "cut short": (npy() + b"\0" * 79, "must be a .npy file with an array"),
    "too large": (npy(shape=(10**18,)), "must be a .npy file with an array"),
    "objects": (npy(descr="|O"), "must be a .npy file with an array"),
    "empty": (npy(shape=(0,)), "must not be empty"),
    "complex": (npy(descr="<c16") + b"\0" * 160, "must be an array of real numbers"),
    "square": (npy(shape=(2, 5)) + b"\0" * 80, "must have 1 axis"),
    "zeros": (npy() + b"\0" * 80, "got only zeros"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_bad_files(content, message, tmp_path):
    (tmp_path / "k.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        solve_chunked(tmp_path / "k.npy", beta=1)


def test_bad_places(tmp_path):
    np.save(tmp_path / "k.npy", heavy(30))
    before = (tmp_path / "k.npy").read_bytes()
    with pytest.raises(ValueError, match="output must not be the file that is read"):
        solve_chunked(tmp_path / "k.npy", beta=1, output=tmp_path / "k.npy")
    assert (tmp_path / "k.npy").read_bytes() == before
    np.savez(tmp_path / "k.npz", heavy(30))
    with pytest.raises(ValueError, match="one array, got an archive"):
        solve_chunked(tmp_path / "k.npz", beta=1)
    with pytest.raises(FileNotFoundError):
        solve_chunked(tmp_path / "missing.npy", beta=1)
    with pytest.raises(FileNotFoundError):
        solve_chunked(tmp_path / "k.npy", beta=1, output=tmp_path / "no" / "a.npy")
