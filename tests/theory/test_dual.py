import numpy as np
import pytest

from bbtheory.theory import dual, dual_kernel

# the polynomial is exact to rounding: one unit in the last place
ONE_ULP = 2.3e-16


def test_the_compiled_exponential_is_one_ulp_from_numpys():
    from numba import njit

    @njit(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
    def fill(x, out):  # the licence to reorder must not reach inside
        for i in range(x.size):
            out[i] = dual_kernel.exp_minus(x[i])

    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(0, 700, 20_000), rng.uniform(0, 1, 20_000), 10.0 ** rng.uniform(-300, 2, 1000)]
    )
    out = np.empty_like(x)
    fill(x, out)
    np.testing.assert_allclose(out, np.exp(-x), rtol=ONE_ULP, atol=0)
    edge = np.array([0.0, 708.5, 720.0, 744.0, 746.0, 1e300])
    out = np.empty_like(edge)
    fill(edge, out)
    np.testing.assert_allclose(out, np.exp(-edge), rtol=ONE_ULP, atol=5e-324)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_compiled_moments_match_numpy(bounded, counted):
    rng = np.random.default_rng(1)
    y, count = rng.uniform(0, 1, 777), rng.integers(1, 5, 777) if counted else None
    lower, upper = (rng.uniform(0, 0.2, 777), rng.uniform(0.2, 0.5, 777)) if bounded else (None, None)
    compiled = dual_kernel._moments(y, 1.0, 4.0, count, lower, upper)
    reference = dual.moments(y[None], np.array([4.0]), count, lower, upper)
    # the search's exponential is rough, to 8e-9, and the third derivative is a difference of larger terms
    np.testing.assert_allclose(compiled, np.concatenate(reference), rtol=1e-6)


def test_moments_are_the_derivatives():
    y = np.random.default_rng(2).uniform(0, 1, (1, 50))

    def at(beta):
        return np.array(dual.moments(y, np.array([beta]), None, None, None))[:, 0]

    slopes = (at(3.0 + 1e-5) - at(3.0 - 1e-5)) / 2e-5
    _, s1, s2, s3 = at(3.0)
    # s1 is the negative first derivative of the traffic, s2 the second, s3 the negative third
    np.testing.assert_allclose(slopes[:3], [-s1, -s2, -s3], rtol=1e-8)
    assert slopes[1] != pytest.approx(s2, rel=0.1)


def test_the_step_is_fourth_order():
    y = np.random.default_rng(3).lognormal(0, 0.7, (1, 300))
    y /= y.max()
    target = 0.2 * y.sum()
    root = dual.solve_rows(y, np.array([target])).beta[0]
    errors = []
    for relative in (0.04, 0.02):
        beta = np.array([root * (1 + relative)])
        moved = beta + dual.step(*dual.moments(y, beta, None, None, None), np.array([target]))
        errors.append(abs(moved[0] / root - 1))
    assert 3.5 < np.log2(errors[0] / errors[1]) < 4.5


def test_the_bracket_holds_the_root():
    rng = np.random.default_rng(4)
    for _ in range(50):
        y = rng.lognormal(0, rng.uniform(0, 2), (1, 20))
        y /= y.max()
        target = y.sum() * 10 ** rng.uniform(-8, -0.31)
        assert dual.solve_rows(y, np.array([target])).beta[0] <= dual.bracket(20, target, 0.0)


def test_a_correction_is_exact_to_second_order():
    y = np.random.default_rng(5).uniform(0, 1, 500)
    errors = []
    for change in (0.02, 0.01):
        moved, exact = np.empty_like(y), np.empty_like(y)
        dual_kernel._fill(y, 1.0, 4.0, None, None, None, moved)
        traffic = dual_kernel._correct(y, 1.0, change, None, None, None, moved)
        dual_kernel._fill(y, 1.0, 4.0 + change, None, None, None, exact)
        errors.append(np.abs(moved - exact).max())
        assert traffic == pytest.approx(y @ moved, rel=1e-13)
    assert 2.8 < np.log2(errors[0] / errors[1]) < 3.2


def test_sums_of_many_equal_units_keep_their_digits():
    y = np.full(1_000_000, 1 / 3)
    term = y[0] / (1 + np.exp(4.0 * y[0]))
    out = np.empty_like(y)
    assert dual_kernel._fill(y, 1.0, 4.0, None, None, None, out)[0] == pytest.approx(1e6 * term, rel=1e-14)
    # the plain loop, as a control of what blocks are for
    total = dual_kernel._fill_of_block(y, 1.0, 4.0, None, None, None, out)[0]
    assert abs(total / (1e6 * term) - 1) > 1e-14


def test_compensated_addition_keeps_what_rounding_loses():
    total, lost = 0.0, 0.0
    for term in (1.0, 1e16, 1.0, -1e16):
        total, lost = dual_kernel.add(total, lost, term)
    assert total + lost == 2.0
    assert (1.0 + 1e16) + 1.0 - 1e16 != 2.0


def test_the_rough_exponential_is_as_close_as_it_says():
    for x in np.concatenate([np.linspace(0, 3, 200), [50.0, 300.0, 708.0]]):
        assert dual_kernel.exp_minus_roughly(x) == pytest.approx(np.exp(-x), rel=1e-8)
