"""Learning weights under pressure: the equilibrium by three roads, death, permanence, start dependence."""

import numpy as np
import pytest

from bbtheory.theory.hysteresis import PressureSweep, sweep_pressure
from bbtheory.theory.presence import Presence, collapse_ratio, permanence_ratio, solve_presence


def flow(flux, pressure, weight_decay, start, *, n_steps=30_000, lr_weight=2e-3, lr_presence=1.0):
    """Euler steps of t and u = w/w* from t = 0; returns mean presence over the second half, and the end."""
    flux, start, weight_decay = np.broadcast_arrays(flux, start, weight_decay)
    u, t, present = start.astype(float), np.zeros(flux.shape), np.zeros(flux.shape)
    for k in range(n_steps):
        on = t >= 0
        present += on & (k >= n_steps // 2)
        t += lr_presence * (flux * u * (1.0 - u * on) - pressure)
        u += lr_weight * (on * (1.0 - u) - weight_decay * u)
    return present / (n_steps - n_steps // 2), u, t


# a step of u is 2e-3 and a cycle of t has 1/(1 - P) steps, at most about 20 here: u, and so P, wavers by 0.04
# at worst within a cycle; its mean is off by a small part of that
FLOW_TOLERANCE = 6e-3


def test_the_reference_weight():
    held = solve_presence([3.0], 1.0, weight_decay=0.05)
    assert held.presence[0] == pytest.approx(0.689098, abs=5e-7)
    assert held.state[0] == "sliding"
    assert held.density == held.presence[0]
    present, weight, _ = flow(3.0, 1.0, 0.05, 1.0)
    assert present == pytest.approx(held.presence[0], abs=FLOW_TOLERANCE)
    assert weight == pytest.approx(held.weight[0], abs=FLOW_TOLERANCE)
    # the law without decay is refuted by the same simulation
    assert abs(present - (1.0 - 1.0 / 3.0)) > FLOW_TOLERANCE


def test_without_decay_it_is_the_duty_cycle_law():
    flux = np.array([0.0, 0.5, 1.0, 1.3, 2.0, 50.0])
    held = solve_presence(flux, 1.0)
    assert held.presence == pytest.approx([0, 0, 0, 1 - 1 / 1.3, 0.5, 0.98], abs=1e-14)
    assert held.weight == pytest.approx(np.ones(6))
    assert held.threshold[3:] == pytest.approx(1.0 / flux[3:])
    assert list(held.state) == ["absent"] * 3 + ["sliding"] * 3


def test_roots_agree_with_a_general_cubic_solver():
    rng = np.random.default_rng(3)
    g, r = rng.uniform(0.01, 1.0, 400), 10 ** rng.uniform(-6, 1, 400)
    held = solve_presence(1.0 / g, 1.0, weight_decay=r)
    assert held.residual < 1e-12
    for gi, ri, p, low, state in zip(g, r, held.presence, held.threshold, held.state, strict=True):
        roots = np.roots([1.0, gi - 1.0, 2.0 * gi * ri - ri, gi * ri**2])  # in P
        real = np.sort(roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real)
        inside = real[real <= 1.0]
        if state == "sliding":
            assert p == pytest.approx(inside[-1], rel=1e-7)
        elif state == "present":
            assert (p, len(inside)) == (1.0, 1)
        else:
            assert p == 0.0
            assert len(inside) == 0
        if state != "absent":
            # np.roots loses digits where the two roots are close
            spread = abs(real[1] - real[0]) / real[1]
            assert low == pytest.approx(inside[0] / (inside[0] + ri), rel=1e-10 / spread)


def test_fold_and_permanence_bound_the_states():
    r = np.array([1e-8, 1e-3, 0.05, 0.5, 2.0, 2.414, 2.415, 10.0])
    fold, permanent = collapse_ratio(r), permanence_ratio(r)
    presence = np.linspace(1e-6, 1.0, 200_001)[:, None]
    scanned = (presence * (presence + r - presence**2) / (presence + r) ** 2).max(axis=0)
    # a parabola's maximum missed by half a step of 5e-6 in P, relative to the curvature at the fold
    assert fold == pytest.approx(scanned, rel=3e-5)
    assert (fold >= permanent).all()
    assert fold[-1] == pytest.approx(permanent[-1])
    just = 1e-9
    near = solve_presence(1.0 / (fold * (1 - just)), 1.0, weight_decay=r)
    assert (near.state != "absent").all()
    assert (near.threshold <= near.weight).all()
    assert near.residual < 1e-12
    assert (solve_presence(1.0 / (fold * (1 + just)), 1.0, weight_decay=r).state == "absent").all()
    assert (solve_presence(1.0 / (permanent * (1 - just)), 1.0, weight_decay=r).state == "present").all()
    below = fold > permanent * (1 + 2 * just)
    held = solve_presence(1.0 / (permanent * (1 + just)), 1.0, weight_decay=r)
    assert (held.state[below] == "sliding").all()
    assert float(collapse_ratio(0.0)) == 1.0
    assert float(collapse_ratio(1e-8)) == pytest.approx(1.0 - 2e-4, abs=4e-8)  # the next term is 3 r


def test_fold_at_the_last_bit_settles():
    r = 10.0 ** np.arange(-12, 3)
    held = solve_presence(1.0 / collapse_ratio(r), 1.0, weight_decay=r)
    assert held.status == "converged"
    # beyond r = 1 + sqrt 2 the fold is the end of permanence: nothing slides there, P jumps from 1 to 0
    alive = (held.state != "absent") & (r > 2.5)
    assert (held.presence[alive] == 1.0).all()
    assert held.weight[alive] == pytest.approx(1.0 / (1.0 + r[alive]))


def test_start_decides_life_and_death():
    held = solve_presence([1.3, 1.3, 1.3], 1.0, start=[0.3, 0.76, 0.78])
    assert held.presence == pytest.approx([0.0, 0.0, 0.3 / 1.3])  # 0.23 is what the static law says for all
    assert held.weight == pytest.approx([0.3, 0.76, 1.0])
    present, weight, t = flow(1.3, 1.0, 0.0, [0.3, 0.76, 0.78])
    assert present == pytest.approx(held.presence, abs=FLOW_TOLERANCE)
    assert weight == pytest.approx(held.weight, abs=FLOW_TOLERANCE)
    assert (t[:2] < -300.0).all()  # the second loses 1 - 1.3 * 0.76 = 0.012 a step


def test_threshold_and_states_are_those_of_the_flow():
    flux, decay = np.array([1.6, 3.0, 8.0, 30.0, 6.0, 2.2]), np.array([0.02, 0.05, 0.05, 0.05, 0.5, 0.5])
    held = solve_presence(flux, 1.0, weight_decay=decay)
    assert list(held.state) == ["sliding", "sliding", "sliding", "present", "present", "absent"]
    present, weight, t = flow(flux, 1.0, decay, 1.0)
    assert present == pytest.approx(held.presence, abs=FLOW_TOLERANCE)
    assert weight[:5] == pytest.approx(held.weight[:5], abs=FLOW_TOLERANCE)
    assert (t[3:5] > 1e3).all()
    alive = held.state != "absent"
    # one step of u must be small against the distance from the threshold, 10 percent of 0.033 at least
    for side, verdict in ((0.9, False), (1.1, True)):
        start = side * held.threshold[alive]
        present, _, _ = flow(flux[alive], 1.0, decay[alive], start, lr_weight=5e-4)
        assert ((present > 0) == verdict).all()
        again = solve_presence(flux[alive], 1.0, weight_decay=decay[alive], start=start)
        assert ((again.presence > 0) == verdict).all()


def test_a_weight_that_points_the_wrong_way_dies():
    held = solve_presence([100.0, 100.0], 1.0, start=-0.5, weight_decay=[0.0, 0.1])
    assert list(held.state) == ["absent", "absent"]
    assert held.weight == pytest.approx([-0.5, 0.0])
    # what the record says is what the flow does from t = 0
    _, _, t = flow(100.0, 1.0, [0.0, 0.1], -0.5)
    assert (t < 0).all()


def test_no_pressure_and_no_flux():
    held = solve_presence([0.0, 2.0], 0.0, weight_decay=[0.1, 0.1])
    assert list(held.state) == ["absent", "present"]
    assert held.weight == pytest.approx([0.0, 1 / 1.1])
    assert solve_presence([2.0], 0.0).presence[0] == 1.0


def test_sweep_up_and_down_is_a_loop_with_decay_only():
    flux = np.geomspace(0.1, 100.0, 200)
    up = np.geomspace(0.01, 20.0, 30)
    path = np.concatenate([up, up[::-1]])
    free = sweep_pressure(flux, path)
    assert free.density[:30] == pytest.approx(free.density[30:][::-1], rel=1e-12)
    decayed = sweep_pressure(flux, path, weight_decay=0.05)
    back = decayed.density[30:][::-1]
    assert (back <= decayed.density[:30] + 1e-15).all()
    assert back[0] < 0.5 * decayed.density[0]
    survivors = flux > 20.0 / collapse_ratio(0.05)
    assert decayed.n_absent[-1] == np.sum(~survivors)
    # the way down is the upper branch of the survivors alone
    expected = [solve_presence(flux[survivors], float(p), weight_decay=0.05).presence.sum() / 200 for p in up]
    assert back == pytest.approx(expected, rel=1e-12)
    assert (decayed.n_present + decayed.n_absent <= 200).all()


def test_sweep_agrees_with_the_flow():
    flux, decay = np.array([1.2, 2.0, 4.0, 9.0]), 0.1
    path = [0.2, 1.5, 0.2]
    swept = sweep_pressure(flux, path, weight_decay=decay)
    u, t = np.ones(4), np.zeros(4)
    for pressure, density in zip(path, swept.density, strict=True):
        present = np.zeros(4)
        for k in range(16_000):
            on = t >= 0
            present += on & (k >= 10_000)
            # a bounded t saves the wait until it has fallen or risen back
            t = np.clip(t + flux * u * (1.0 - u * on) - pressure, -50.0, 50.0)
            u += 2e-3 * (on * (1.0 - u) - decay * u)
        assert present.mean() / 6_000 == pytest.approx(density, abs=FLOW_TOLERANCE)
    assert swept.density[2] < swept.density[0] - 0.2


@pytest.mark.parametrize("kind", [Presence, PressureSweep])
def test_records_round_trip(kind, tmp_path):
    if kind is Presence:
        record = solve_presence(np.geomspace(0.1, 90.0, 80), 1.0, weight_decay=0.05)
    else:
        record = sweep_pressure([1.0, 2.0], [0.1, 1.5])
    record.save(tmp_path / "record.json")
    assert kind.load(tmp_path / "record.json") == record
    assert record.to_json()
    assert len(record.to_frame()) == (80 if kind is Presence else 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: solve_presence([-1.0], 1.0),
            r"flux must be finite numbers in \[0, inf\), got -1.0 at index 0",
        ),
        (lambda: solve_presence([], 1.0), "flux must not be empty"),
        (lambda: solve_presence([1.0], -1.0), r"pressure must be a number in \[0, inf\), got -1.0"),
        (lambda: solve_presence([1.0], [1.0, 2.0]), "pressure must be a number"),
        (
            lambda: solve_presence([1.0], 1.0, weight_decay=-0.1),
            r"weight_decay must be a number in \[0, inf\)",
        ),
        (lambda: solve_presence([1.0], 1.0, weight_decay=[0.1, 0.1]), r"weight_decay must have shape \(1,\)"),
        (lambda: solve_presence([1.0], 1.0, start=np.nan), "start must be a number"),
        (lambda: solve_presence([1.0], 1.0, start=[np.inf]), "start must be finite"),
        (lambda: collapse_ratio(-1.0), "weight_decay must be finite numbers"),
        (lambda: permanence_ratio(np.nan), "weight_decay must be finite numbers"),
        (lambda: sweep_pressure([1.0], []), "pressures must not be empty"),
        (lambda: sweep_pressure([1.0], [0.1, -0.1]), "pressures must be finite numbers"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
