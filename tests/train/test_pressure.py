"""Who sets the pressure: the authors' recursion interval by interval, and the feedback that meets a density."""

from __future__ import annotations

import importlib.util
import math
from itertools import pairwise

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.schedules import PressureState, follow_trajectory, sigmoid_trajectory
from bbtheory.train import (
    Flow,
    FollowTrajectory,
    Hyperflux,
    PressureRule,
    Setting,
    SteerDensity,
    TensorBatches,
    cross_entropy,
    lenet_300_100,
    load_data,
)

torch.set_num_threads(1)
CLOSE = 0.02  # relative distance from the target that the feedback promises


class Plant:
    """Density that follows gamma^-exponent late, sooner down than up; frozen where the flow is."""

    def __init__(self, exponent=0.6, down=15.0, up=60.0):
        self.exponent, self.down, self.up, self.log = exponent, down, up, 0.0

    def __call__(self, setting: Setting) -> float:
        aim = min(-self.exponent * math.log(max(setting.pressure, 1e-9) / 0.02), 0.0)
        late = self.down if aim < self.log else self.up
        self.log += setting.flow * (aim - self.log) / late
        return math.exp(self.log)


def run(rule, plant, n):
    setting, settings, density = rule.first(), [], 1.0
    for interval in range(1, n + 1):
        settings.append(setting)
        density = plant(setting)
        setting = rule.after(interval, density)
    return density, settings


def test_the_authors_recursion():
    densities = [1.0, 0.9, 0.5, 0.2, 0.15, 0.1, 0.12, 0.1, 0.1, 0.1]
    rule = FollowTrajectory(0.1, 5, 4, step=0.3, flow=2.0, decay=0.5)
    state, trajectory = PressureState(), sigmoid_trajectory(0.1, 5)
    setting = rule.first()
    assert setting == Setting(0.0)
    for interval, density in enumerate(densities[:5], 1):
        setting = rule.after(interval, density)
        state = follow_trajectory(state, interval, density, trajectory, step=0.3)
        assert setting == Setting(state.pressure)
    # one more interval is under the last pressure, then none is
    assert [rule.after(k, 0.1) for k in (6, 7, 8)] == [Setting(0.0, 2.0 * 0.5**k) for k in (1, 2, 3)]
    assert FollowTrajectory(0.1, 5, 100).after(56, 0.1).flow == 0.0
    assert FollowTrajectory(0.1, 5).after(9, 0.1) == Setting(0.0)


@pytest.mark.parametrize("target", [0.1, 0.02, 0.005])
@pytest.mark.parametrize("plant", [{}, {"exponent": 1.2}, {"down": 8.0, "up": 200.0}])
def test_feedback_meets_the_target(target, plant):
    density, settings = run(SteerDensity(target, 200, 100), Plant(**plant), 300)
    assert density == pytest.approx(target, rel=CLOSE)
    assert settings[-1].flow == 0.01
    assert settings[0] == Setting(0.01)


def test_the_authors_recursion_does_not_meet_it():
    """Negative control: without pressure the density overshoots in regrowth."""
    density, _ = run(FollowTrajectory(0.02, 200, 100, flow=1.0, decay=0.9), Plant(), 300)
    assert abs(density / 0.02 - 1.0) > 2 * CLOSE


def test_the_course_that_is_wanted():
    rule = SteerDensity(0.01, 100, 40)
    wanted = [rule.wanted(k) for k in range(0, 141)]
    assert wanted[0] == 1.0
    assert wanted[120] == wanted[140] == 0.01
    assert all(a > b for a, b in pairwise(wanted[:121]))
    assert rule.after(1, 0.0).pressure > 0  # an empty network has a finite logarithm


def test_a_state_goes_on():
    one, two, plant = SteerDensity(0.02, 50, 20), SteerDensity(0.02, 50, 20), Plant()
    run(one, plant, 30)
    two.load_state_dict(one.state_dict())
    assert [one.after(k, 0.1) for k in range(31, 60)] == [two.after(k, 0.1) for k in range(31, 60)]


@pytest.mark.parametrize("target", [0.1, 0.02])
def test_a_network_on_digits_meets_its_target_and_finish_is_exact(target):
    digits = load_data()
    x = torch.from_numpy(digits.flat("train").copy()) / 16.0
    batches = TensorBatches(x, torch.from_numpy(digits.y_train.copy()), 64)
    model = lenet_300_100(64, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, fused=True)
    rule = SteerDensity(target, 80, 40)
    flux = Hyperflux(model, rule, interval=10, flow=Flow(lr=4e-3))
    step, epoch = 0, 0
    while step < 1200:
        for batch in batches(epoch):
            optimizer.zero_grad()
            cross_entropy(model, batch).backward()
            optimizer.step()
            flux.step()
            step += 1
        epoch += 1
    assert flux.current_density == pytest.approx(target, rel=2 * CLOSE)  # 120 changes of pressure, not 200
    report = flux.finish()
    assert report.n_kept == round(target * flux.n_weights)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: PressureRule(-1.0), "pressure"),
        (lambda: PressureRule(math.inf), "pressure"),
        (lambda: FollowTrajectory(0.0, 10), "target"),
        (lambda: FollowTrajectory(0.5, 0), "pruning"),
        (lambda: FollowTrajectory(0.5, 9, -1), "regrowth"),
        (lambda: FollowTrajectory(0.5, 9, step=0.0), "step"),
        (lambda: FollowTrajectory(0.5, 9, flow=-1.0), "flow"),
        (lambda: FollowTrajectory(0.5, 9, decay=2.0), "decay"),
        (lambda: SteerDensity(1.0, 10, 10), "target"),
        (lambda: SteerDensity(0.1, 10, 0), "regrowth"),
        (lambda: SteerDensity(0.1, 10, 10, start=0.0), "start"),
        (lambda: SteerDensity(0.1, 10, 10, fade=1.0), "fade"),
        (lambda: SteerDensity(0.1, 10, 10, frozen=0.0), "frozen"),
        (lambda: SteerDensity(0.1, 10, 10, gain=-1.0), "gain"),
        (lambda: SteerDensity(0.1, 10, 10, damping=math.nan), "damping"),
        (lambda: SteerDensity(0.1, 10, 10, fastest=0.0), "fastest"),
        (lambda: SteerDensity(0.1, 10, 10).after(1, 1.5), "density"),
    ],
)
def test_bad_input(make, word):
    with pytest.raises(ValueError, match=word):
        make()
