import math

import numpy as np
import pytest

from bbtheory.fit import segments_kernel as kernel
from bbtheory.fit.segments import SegmentedLine, bootstrap_segments, fit_segments
from bbtheory.fit.uncertainty import RELATIVE_FLOOR

# sums of a few hundred terms of order one, compared with a singular-value solution of the same points
ROUNDING = 1e-9


def broken_lines(rng, n=60, noise=0.03):
    x = np.sort(rng.uniform(0, 10, n))
    knots = np.array([rng.uniform(1.5, 4.5), rng.uniform(5.5, 8.5)])
    slopes = rng.uniform(-2, 0, 3)
    y = slopes[0] * x + np.diff(slopes) @ np.maximum(x - knots[:, None], 0.0)
    return x, y + rng.normal(0, noise, n), knots, slopes


def squares_at(x, y, knots):
    """Least sum of squares with these knots: the road through the singular-value decomposition."""
    design = np.column_stack([np.ones_like(x), x, *np.maximum(x - np.asarray(knots)[:, None], 0.0)])
    design = design - np.concatenate([[0.0], design[:, 1:].mean(axis=0)])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(residual @ residual)


def allowed(x, first, second, slack=1e-9):
    """Three distinct points on each line, a point on a knot counting to the side that needs it."""
    x, slack = np.unique(x), slack * np.ptp(x)
    one = {int(np.sum(x < first - slack)), int(np.sum(x <= first + slack))}
    two = {int(np.sum(x < second - slack)), int(np.sum(x <= second + slack))}
    return any(
        i >= 3 and j - i >= 3 and x.size - j >= 3
        for i in range(min(one), max(one) + 1)
        for j in range(min(two), max(two) + 1)
    )


def dense_search(x, y, parts=3, zooms=4):
    """Least sum of squares over a grid of knots, zoomed around the best: no sums are shared with the fit."""
    basis, _ = np.linalg.qr(np.column_stack([np.ones_like(x), x - x.mean()]))
    straight = y - basis @ (basis.T @ y)

    def best_pair(firsts, seconds):
        t = np.concatenate([firsts, seconds])
        bend = np.maximum(x - t[:, None], 0.0)
        bend -= (bend @ basis) @ basis.T
        gram, side = bend @ bend.T, bend @ straight
        m, one, two = firsts.size, np.diag(gram)[: firsts.size], np.diag(gram)[firsts.size :]
        cross = gram[:m, m:]
        det = one[:, None] * two - cross**2
        g1, g2 = side[:m, None], side[None, m:]
        gain = two * g1**2 - 2 * cross * g1 * g2 + one[:, None] * g2**2
        usable = det > 1e-12 * one[:, None] * two
        ordered = np.array([[a < b and allowed(x, a, b) for b in seconds] for a in firsts])
        gain = np.where(ordered & usable, gain / np.where(usable, det, 1.0), -np.inf)
        at = np.unravel_index(np.argmax(gain), gain.shape)
        return float(straight @ straight) - gain[at], firsts[at[0]], seconds[at[1]]

    distinct = np.unique(x)
    grid = np.unique(np.concatenate([distinct[:-1] + p / parts * np.diff(distinct) for p in range(parts)]))
    squares, first, second = best_pair(grid, grid)
    width = np.max(np.diff(grid))
    for _ in range(zooms):
        near = np.linspace(-width, width, 9)
        zoomed = best_pair(first + near, second + near)
        if zoomed[0] < squares:
            squares, first, second = zoomed
        width /= 4
    return squares


def grid_squares(x, y, parts=2):
    """The same grid without the rule of three points in its gaps, all knots at least three points apart."""
    basis, _ = np.linalg.qr(np.column_stack([np.ones_like(x), x - x.mean()]))
    straight = y - basis @ (basis.T @ y)
    knots = np.concatenate([x[:-1] + p / parts * np.diff(x) for p in range(parts)])
    order = np.argsort(knots)
    knots = knots[order]
    below = np.searchsorted(x, knots, side="right")
    bend = np.maximum(x - knots[:, None], 0.0)
    bend -= (bend @ basis) @ basis.T
    gram, side = bend @ bend.T, bend @ straight
    one = np.diag(gram)
    det = one[:, None] * one - gram**2
    usable = (below[None, :] - below[:, None] >= 3) & (below[:, None] >= 3) & (x.size - below[None, :] >= 3)
    usable &= det > 0
    gain = one * side[:, None] ** 2 - 2 * gram * side[:, None] * side + one[:, None] * side**2
    gain = np.where(usable, gain / np.where(usable, det, 1.0), -np.inf)
    return float(straight @ straight) - gain.max()


def test_lines_without_noise_are_recovered():
    x = np.linspace(-3, 9, 25)
    y = 2 - 0.5 * x - 1.5 * np.maximum(x - 0.2, 0) + 3 * np.maximum(x - 5.9, 0)
    fit = fit_segments(x, y)
    np.testing.assert_allclose(fit.knots, [0.2, 5.9], rtol=1e-12)
    np.testing.assert_allclose(fit.slopes, [-0.5, -2.0, 1.0], rtol=1e-12)
    np.testing.assert_allclose(fit.knot_values, [1.9, -9.5], rtol=1e-12)
    assert fit.sum_squares < 25 * (10 * RELATIVE_FLOOR) ** 2
    np.testing.assert_allclose(fit.predict(x), y, atol=1e-12)
    # rounding in the squares, 1e-13 of the data, moves a knot by its root at most
    np.testing.assert_allclose(fit.knot_intervals, np.outer(fit.knots, [1, 1]), rtol=1e-6)
    assert not np.ptp(bootstrap_segments(fit, n_bootstrap=100).knots, axis=0).any()


def test_knots_on_data_points():
    x = np.arange(12.0)
    y = np.maximum(x - 4, 0) - np.maximum(x - 8, 0)
    fit = fit_segments(x, y)
    np.testing.assert_allclose(fit.knots, [4, 8], atol=1e-12)
    np.testing.assert_allclose(fit.slopes, [0, 1, 0], atol=1e-12)


def test_nine_points_are_enough_and_every_line_keeps_three():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, y = np.sort(rng.uniform(0, 1, 9)), rng.standard_normal(9)
        first, second = fit_segments(x, y).knots
        assert x[2] <= first <= x[3]
        assert x[5] <= second <= x[6]


def hard_sets(rng, n_sets):
    for i in range(n_sets):
        n = int(rng.integers(9, 15))
        x = np.sort(rng.uniform(0, 10, n))
        kind = i % 5
        if kind == 0:
            y = rng.standard_normal(n)
        elif kind == 1:
            y = rng.standard_normal(n).cumsum()
        elif kind == 2:
            x, y = np.sort(rng.exponential(size=n) ** 2), rng.standard_normal(n)
        elif kind == 3:
            x, y = np.arange(float(n)), np.round(2 * rng.standard_normal(n))
        else:
            x, y = 1e3 + 1e-3 * x, 1e6 + rng.standard_normal(n)
        yield x, y


def test_no_search_finds_better_and_knots_keep_the_rule():
    rng = np.random.default_rng(1)
    for x, y in hard_sets(rng, 50):
        fit = fit_segments(x, y)
        assert allowed(x, *fit.knots)
        direct = squares_at(x - x.mean(), y - y.mean(), fit.knots - x.mean())
        assert fit.sum_squares == pytest.approx(direct, rel=1e-6, abs=1e-12)
        # a zoom can end 1e-9 of the range beyond a point that the rule forbids it to pass
        assert fit.sum_squares <= dense_search(x, y) * (1 + 1e-6)


def test_no_optimum_is_missed_in_a_thousand_sets():
    rng = np.random.default_rng(2)
    excess = []
    for _ in range(1000):
        x, y, _, _ = broken_lines(rng)
        excess.append(fit_segments(x, y).sum_squares / grid_squares(x, y) - 1)
    assert max(excess) <= ROUNDING  # an excess of 0.01 would be a missed one
    # the grid is only a grid: it is worse somewhere, else the comparison would show nothing
    assert min(excess) < -0.01


def test_a_search_by_steps_is_caught_missing_optima():
    """The control: least squares from one guess misses some of the same sets."""
    from scipy.optimize import least_squares

    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        x, y, _, _ = broken_lines(rng)

        def residual(knots, x=x, y=y):
            design = np.column_stack([np.ones_like(x), x, *np.maximum(x - knots[:, None], 0.0)])
            return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]

        found = least_squares(residual, [10 / 3, 20 / 3], bounds=(x[0], x[-1]))
        missed += 2 * found.cost > 1.01 * fit_segments(x, y).sum_squares
    assert missed > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # of another library
def test_no_set_on_which_pwlf_finds_better():
    pwlf = pytest.importorskip("pwlf")
    rng = np.random.default_rng(3)
    for _ in range(60):
        x, y, _, _ = broken_lines(rng)
        knots = np.asarray(pwlf.PiecewiseLinFit(x, y, seed=0).fit(3))[1:3]
        if allowed(x, *knots):
            assert fit_segments(x, y).sum_squares <= squares_at(x, y, knots) * (1 + ROUNDING)


def test_ties_count_by_their_number():
    rng = np.random.default_rng(4)
    for _ in range(10):
        x = np.sort(rng.integers(0, 12, 40).astype(float))
        y = -np.maximum(x - 5, 0) + 0.3 * rng.standard_normal(40)
        fit = fit_segments(x, y)
        assert fit.n == 40
        assert fit.sum_squares == pytest.approx(squares_at(x, y, fit.knots), rel=ROUNDING)
        assert fit.sum_squares <= dense_search(x, y) * (1 + 1e-6)


def test_units_and_direction_do_not_matter():
    x, y, _, _ = broken_lines(np.random.default_rng(5))
    fit = fit_segments(x, y)
    scaled = fit_segments(1e-6 * x - 40, 1e5 * y + 3)
    np.testing.assert_allclose(scaled.knots, 1e-6 * fit.knots - 40, rtol=1e-12)
    np.testing.assert_allclose(scaled.slopes, 1e11 * fit.slopes, rtol=1e-6)
    np.testing.assert_allclose((scaled.knot_intervals + 40) * 1e6, fit.knot_intervals, rtol=1e-6)
    turned = fit_segments(-x[::-1], y[::-1])
    np.testing.assert_allclose(turned.knots, -fit.knots[::-1], rtol=1e-12)
    np.testing.assert_allclose(turned.slopes, -fit.slopes[::-1], rtol=1e-9)
    np.testing.assert_allclose(turned.knot_intervals, -fit.knot_intervals[::-1, ::-1], rtol=1e-9)
    order = np.random.default_rng(6).permutation(x.size)
    assert fit_segments(x[order], y[order]) == fit


def test_jitted_is_python(monkeypatch):
    x, y, _, _ = broken_lines(np.random.default_rng(7), n=14)
    compiled = kernel.fit(x, y)
    call = (x, y, np.array(compiled[1:3]), 1.3 * compiled[0])
    profile = kernel.profile_intervals(*call)
    for name, function in vars(kernel).copy().items():
        if hasattr(function, "py_func"):
            monkeypatch.setattr(kernel, name, function.py_func)
    assert not hasattr(kernel.fit, "py_func")
    np.testing.assert_allclose(kernel.fit(x, y), compiled, rtol=1e-12)
    np.testing.assert_allclose(kernel.profile_intervals(*call), profile, rtol=1e-9)


def test_profile_ends_are_where_the_profile_crosses_its_limit():
    rng = np.random.default_rng(8)
    x, y, _, _ = broken_lines(rng, n=40, noise=0.2)
    fit = fit_segments(x, y)
    for which in (0, 1):
        other = np.linspace(x[2], x[-3], 2001)
        for end in fit.knot_intervals[which]:
            pairs = [(end, t) if which == 0 else (t, end) for t in other]
            profile = min(squares_at(x, y, pair) for pair in pairs if pair[0] < pair[1] and allowed(x, *pair))
            assert profile == pytest.approx(fit._limit(), rel=1e-3)


def inside(interval, truth):
    return int(interval[0] <= truth <= interval[1])


def test_profile_intervals_cover():
    rng = np.random.default_rng(9)
    n_sets = 400
    hits = {0.95: 0, 0.5: 0}
    for _ in range(n_sets):
        x = np.sort(rng.uniform(0, 10, 40))
        y = -0.3 * x - np.maximum(x - 3, 0) - np.maximum(x - 7, 0) + rng.normal(0, 0.1, 40)
        for level in hits:
            intervals = fit_segments(x, y, level=level).knot_intervals
            hits[level] += inside(intervals[0], 3) + inside(intervals[1], 7)
    # 800 intervals, about independent: 0.95 is known to 0.008; knots make the F limit approximate
    assert 0.91 <= hits[0.95] / (2 * n_sets) <= 0.985
    # the control: half-intervals must fail the same demand
    assert 0.35 <= hits[0.5] / (2 * n_sets) <= 0.65


def test_bootstrap_intervals_cover():
    rng = np.random.default_rng(10)
    n_sets = 100
    hits = np.zeros(3)
    for _ in range(n_sets):
        x = np.linspace(0, 10, 40)
        y = -0.3 * x - np.maximum(x - 3, 0) - np.maximum(x - 7, 0) + rng.normal(0, 0.1, 40)
        intervals = bootstrap_segments(fit_segments(x, y), n_bootstrap=200).slope_intervals
        hits += [inside(i, s) for i, s in zip(intervals, (-0.3, -1.3, -2.3), strict=True)]
    # 100 sets: 0.95 is known to 0.022
    assert (hits / n_sets > 0.88).all()


def test_bootstrap_is_seeded():
    x, y, _, _ = broken_lines(np.random.default_rng(11))
    fit = fit_segments(x, y)
    assert bootstrap_segments(fit, seed=1) == bootstrap_segments(fit, seed=1)
    assert bootstrap_segments(fit, seed=1) != bootstrap_segments(fit, seed=2)


def test_record_round_trip(tmp_path):
    x, y, _, _ = broken_lines(np.random.default_rng(12), n=70)
    fit = fit_segments(x, y)
    fit.save(tmp_path / "fit.json")
    assert SegmentedLine.load(tmp_path / "fit.json") == fit
    assert {"x", "y"}.isdisjoint(fit.to_dict())
    assert math.isclose(float(fit.residuals @ fit.residuals), fit.sum_squares, rel_tol=1e-9)


GOOD = np.arange(12.0)


@pytest.mark.parametrize(
    ("x", "y", "options", "expected"),
    [
        ([], [], {}, "x must not be empty"),
        (GOOD, GOOD[1:], {}, r"y must have shape \(12,\), got \(11,\)"),
        (GOOD[:8], GOOD[:8], {}, "at least 9 distinct values for three lines, got 8"),
        (np.repeat(GOOD[:8], 2), np.ones(16), {}, "at least 9 distinct values for three lines, got 8"),
        (np.ones(12), GOOD, {}, "got 1"),
        (np.where(GOOD == 3, np.nan, GOOD), GOOD, {}, "x must be finite numbers .* got nan at index 3"),
        (GOOD, np.where(GOOD == 3, np.inf, GOOD), {}, "y must be finite numbers .* got inf at index 3"),
        (GOOD, ["a"] * 12, {}, "y must be an array of real numbers"),
        (GOOD[:, None], GOOD, {}, "x must have 1 axis"),
        (GOOD, GOOD, {"level": 1.0}, r"level must be a number in \(0, 1\), got 1.0"),
    ],
)
def test_bad_input(x, y, options, expected):
    with pytest.raises(ValueError, match=expected):
        fit_segments(x, y, **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"n_bootstrap": 99}, "n_bootstrap"), ({"level": 0}, "level"), ({"seed": -1}, "seed")],
)
def test_bad_bootstrap(options, expected):
    x, y, _, _ = broken_lines(np.random.default_rng(13))
    with pytest.raises(ValueError, match=expected):
        bootstrap_segments(fit_segments(x, y), **options)


def test_linearised_fit_when_knots_sit_on_points():
    # a point on a knot must not be lost, by rounding, to the line that needs it
    rng = np.random.default_rng(14)
    lost = 0
    x = np.linspace(0, 1.7 * np.log(10) / 0.8, 20)  # abscissae whose rounding loses one
    for _ in range(500):
        fit = fit_segments(x, rng.standard_normal(20))
        first, second = np.searchsorted(x, fit.knots, side="right")
        lost += second - first < 2
        linear = fit.tangent()
        assert np.isfinite(linear.inverse_gram).all()
        np.testing.assert_array_equal(linear.residuals, fit.residuals)
    assert lost > 0  # else this shows nothing
