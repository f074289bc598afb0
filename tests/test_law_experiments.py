"""Experiments on the pruning law at tiny size: what families share, runs cut off, spectra, presets."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
from experiments import _law, pruning_law_convnet, pruning_law_lenet, pruning_law_resnet50
from experiments import spectrum_predicts_exponent as spectrum
from experiments._law_settings import FAMILIES, cells, course
from experiments.protocol import NotRun, Progress

TINY = dataclasses.replace(
    pruning_law_lenet.SMOKE,
    widths=(12, 8),
    dense_epochs=1,
    kept=0.7,
    last_density=0.1,
    high=0.0,
    pressure_steps=4,
    flux_sample=2,
    flux_images=32,
    score_batches=1,
)


class Kept(Progress):
    """Keeps states in memory; goes on from one of them, and may be cut off after some events."""

    def __init__(self, state=None, stop=None):
        super().__init__(None)
        self.state, self.stop, self.n = state, stop, 0

    def restore(self):
        return self.state

    def save(self, state):
        self.state, self.n = state, self.n + 1
        if self.n == self.stop:
            raise KeyboardInterrupt


def one(family, schedule="base", seed=0, config=TINY):
    return dataclasses.replace(config, families=(family,), schedules=(schedule,), seeds=(seed,))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_a_curve(family):
    config = one(family)
    found = pruning_law_lenet.run(config, Kept())
    plan = course(config)
    assert found.density.size == plan.n
    assert (np.diff(found.density) <= 0).all()
    if family == "hyperflux":
        assert found.saliency.tolist() == list(plan.pressures)
    else:
        assert found.density[-1] == pytest.approx(0.1, abs=1e-3)
        shares = found.density[1:-1] / found.density[:-2]
        assert shares == pytest.approx(np.full(shares.size, 0.7), abs=2e-3)
    follows = family in ("magnitude", "taylor", "gradient", "static_magnitude", "static_taylor")
    assert np.isfinite(found.growth[1:]).all() == follows
    assert np.isfinite(found.flux_median).all()
    if family == "static_magnitude":
        assert (found.growth[1:] == 0).all()
        assert (np.diff(found.saliency) >= 0).all()


def test_families_share_the_dense_network():
    accuracies = {pruning_law_lenet.run(one(f), Kept()).accuracy[0] for f in FAMILIES if "static" in f}
    dense = {pruning_law_lenet.run(one(f), Kept()).dense_accuracy for f in ("taylor", "hyperflux")}
    assert len(accuracies) == 1
    assert accuracies == dense  # the static ones begin right there
    assert pruning_law_lenet.run(one("taylor", seed=1), Kept()).dense_accuracy not in dense


@pytest.mark.parametrize("family", ["taylor", "random_regrowth", "hyperflux"])
def test_a_run_cut_off_goes_on_bit_for_bit(family):
    config = one(family)
    whole = pruning_law_lenet.run(config, Kept())
    cut = Kept(stop=2)
    with pytest.raises(KeyboardInterrupt):
        pruning_law_lenet.run(config, cut)
    assert pruning_law_lenet.run(config, Kept(cut.state)) == whole
    assert pruning_law_lenet.run(one(family, seed=1), Kept()) != whole  # the control


def test_schedules_differ_in_steps_alone():
    base, quick = (pruning_law_lenet.run(one("magnitude", s), Kept()) for s in ("base", "quick"))
    coarse = pruning_law_lenet.run(one("magnitude", "coarse"), Kept())
    assert (base.density == quick.density).all()
    assert (base.saliency != quick.saliency).any()
    assert coarse.density[0] == pytest.approx(0.49, abs=1e-3)
    assert np.isnan(quick.flux_median).all()  # of the base schedule alone
    assert [(c.families[0], c.schedules[0]) for c in cells(dataclasses.replace(TINY, schedules=("base", "quick")))][
        :3
    ] == [("magnitude", "base"), ("magnitude", "quick"), ("random_regrowth", "base")]  # fmt: skip


def test_orders_of_steps_are_new_at_every_event():
    class Batches:
        def __len__(self):
            return 4

        def __call__(self, epoch):
            return iter((epoch, i) for i in range(4))

    assert list(_law._steps(Batches(), 2, 3)) == [(2, 0), (2, 1), (2, 2)]
    assert list(_law._steps(Batches(), 1, 6)) == [(2, 0), (2, 1), (2, 2), (2, 3), (3, 0), (3, 1)]


@pytest.mark.parametrize("family", ["magnitude", "taylor", "hyperflux"])
def test_spectra_are_of_the_dense_network_and_leave_it(family):
    config = dataclasses.replace(
        spectrum.SMOKE, families=(family,), data="digits", widths=(8, 6), n_removed=30
    )
    task, _ = _law.dense_network(config, pruning_law_lenet.task, None)
    before = [p.detach().clone() for p in task.model.parameters()]
    found = spectrum.dense_spectrum(config, task)
    assert all(bool((a == b).all()) for a, b in zip(before, task.model.parameters(), strict=True))
    sizes = np.concatenate([p.detach().numpy().ravel() for p in task.model.parameters() if p.dim() > 1])
    assert found.size == (30 if family == "hyperflux" else sizes.size)
    if family == "magnitude":
        assert np.sort(found) == pytest.approx(np.sort(np.abs(sizes)))
    assert np.isfinite(found).all()


def cell(measured, predicted, nu=0.1):
    from experiments._law_records import fit_law

    density = np.geomspace(0.9, 0.003, 40)
    curve = fit_law(density ** (-1 / measured), density)
    return spectrum.Cell(
        spectrum=np.ones(100),
        static=2 * predicted,
        predicted=predicted,
        compensation=nu,
        near_compensation=nu,
        rank_correlation=0.9,
        predicted_breaks=np.array([0.4, 0.01]),
        predicted_log_rms=0.1,
        share_positive=1.0,
        fit=curve,
        dense_accuracy=0.98,
    )


def test_measured_is_set_against_predicted():
    config = dataclasses.replace(
        spectrum.SMOKE, families=("magnitude", "taylor"), sizes=((8, 6), (16, 8)), seeds=(0, 1, 2)
    )
    cells = []
    for setting in spectrum.cells(config):
        right = setting.families[0] == "magnitude"
        measured = 0.8 + 0.02 * setting.seeds[0]
        cells.append(cell(measured, measured * (1.0 if right else 0.5)))
    found = spectrum.collect(config, cells)
    assert [(r.widths, r.family) for r in found.rows] == [
        ("8-6", "magnitude"), ("8-6", "taylor"), ("16-8", "magnitude"), ("16-8", "taylor"),
    ]  # fmt: skip
    right, wrong = found.rows[:2]
    assert (right.ratio, right.static_ratio) == (pytest.approx(1.0, rel=1e-6), pytest.approx(0.5, rel=1e-6))
    assert wrong.ratio == pytest.approx(2.0, rel=1e-6)
    assert wrong.ratio_low <= 2.0 + 1e-9
    assert (right.agrees, wrong.agrees) == (True, False)
    assert right.edge == pytest.approx(1 / 1.82, rel=1e-3)
    assert right.spectrum_break == pytest.approx(0.4)
    assert found.measured.shape == (4, 3)


@pytest.mark.parametrize(("power", "hill_agrees"), [(True, True), (False, False)])
def test_static_law_is_the_line_of_the_curve_itself(power, hill_agrees):
    """The largest removed of numbers that stay as they are; a tail index is that line for exact powers only."""
    from bbtheory import static_exponent
    from experiments._law_records import WINDOW, fit_law

    rng = np.random.default_rng(0)
    scores = rng.pareto(1.5, 100_000) + 1.0 if power else np.abs(rng.standard_normal(100_000))
    density = 0.9 ** np.arange(1, 58)
    kept = np.round(density * scores.size).astype(int)
    removed = np.sort(scores)[scores.size - kept - 1]
    found = spectrum.static_law(scores, density).exponent
    assert found == pytest.approx(fit_law(removed, density).exponent, rel=1e-3)
    hill = static_exponent(scores, low_density=WINDOW[0], high_density=WINDOW[1]).exponent
    assert (abs(hill / found - 1.0) < 0.05) == hill_agrees


def test_what_trains_nothing_is_predicted_by_its_spectrum(monkeypatch):
    """Without steps between events the static exponent is the measured one; with growth it is not."""
    config = dataclasses.replace(
        spectrum.SMOKE, families=("magnitude",), sizes=((60, 30),), kept=0.85, last_density=0.02
    )
    trained = spectrum.run(config, Kept())

    def still(task, *rest):
        return dataclasses.replace(task, optimizer=lambda parameters, dense: _still(parameters))

    def _still(parameters):
        import torch

        return torch.optim.SGD(parameters, 0.0)

    network = _law.dense_network
    monkeypatch.setattr(_law, "dense_network", lambda *a: (still(network(*a)[0]), 1.0))
    found = spectrum.run(config, Kept())
    assert found.compensation == 0.0
    assert found.predicted_log_rms < 1e-3
    assert found.predicted == found.static == pytest.approx(found.fit.exponent, rel=0.01)
    assert found.rank_correlation == pytest.approx(1.0)
    assert trained.predicted_log_rms > 10 * found.predicted_log_rms


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(NotRun, match="data"):
        pruning_law_lenet.run(dataclasses.replace(one("magnitude"), data="mnist"), Progress(tmp_path))
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(NotRun, match="CUDA"):
            pruning_law_resnet50.run(one("magnitude", config=pruning_law_resnet50.GPU), Progress(tmp_path))


def test_the_preset_for_a_gpu_at_tiny_size():
    config = dataclasses.replace(
        pruning_law_resnet50.GPU, data="digits", blocks=(1, 1), widths=(4, 8), dense_epochs=1, kept=0.5,
        last_density=0.2, steps=2, flux_sample=2, flux_images=16, n_test=32, device="cpu", batch=64,
        score_batches=1, seeds=(0,),
    )  # fmt: skip
    found = pruning_law_resnet50.run(one("taylor", config=config), Kept())
    assert found.density[-1] == pytest.approx(0.2, abs=1e-3)
    assert len(cells(pruning_law_resnet50.GPU)) == 18


def test_convolutions_have_the_stated_size():
    model = pruning_law_convnet.convnet(1, 28, (16, 32, 64, 64), seed=0)
    assert sum(p.numel() for p in model.parameters() if p.dim() > 1) == 62_608
    images = pruning_law_convnet.images("digits", None, 12)
    assert images[0].shape[1:] == (1, 12, 12)
    assert float(images[0][..., :2, :].abs().max()) == 0.0  # padded
    assert float(images[0].max()) == 1.0
