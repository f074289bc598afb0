"""One recorder for every way to prune: each column is what numpy and autograd say it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from bbtheory import compensation_exponent
from bbtheory.train import (
    Flow,
    Gradient,
    Hyperflux,
    Magnitude,
    PruningEvents,
    Random,
    RandomRegrowth,
    Taylor,
    TensorBatches,
    compare_scores,
    train_epochs,
)
from bbtheory.train.presence import KAPPA
from small_models import batch, cut_are_zero, mlp

ITERATIVE = {"schedule": "iterative", "kept": 0.8}
X, Y = batch(0, 64, 20), (batch(1, 64, 5) > 0).float()


def loss_of(model, given):
    return (model(given[0]) - given[1]).pow(2).mean()


def accuracy_of(model):
    """Something that pruning changes."""
    with torch.no_grad():
        return {"accuracy": float(model(X).pow(2).mean())}


def weights_of(pruner):
    return np.concatenate([w.parameter.detach().numpy().ravel() for w in pruner.weights.values()])


def mask_of(pruner):
    return np.concatenate([w.mask.numpy().ravel() for w in pruner.weights.values()])


def move(model, step):
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.mul_(1 + 0.3 * torch.rand(p.shape, generator=torch.Generator().manual_seed(100 * step + i)))


FAMILIES = {
    "magnitude": lambda m: Magnitude(m, 0.1, **ITERATIVE),
    "taylor": lambda m: Taylor(m, 0.1, **ITERATIVE),
    "gradient": lambda m: Gradient(m, 0.1, **ITERATIVE),
    "regrowth": lambda m: RandomRegrowth(m, 0.1, kept=0.8),
    "hyperflux": lambda m: Hyperflux(m, lambda k: 0.01 * 4.0**k, flow=Flow(lr=0.01), presence=(0.0, 0.6)),
}


def recorder(pruner, **settings):
    given = [(X[:32], Y[:32]), (X[32:], Y[32:])]
    return PruningEvents(pruner, accuracy_of, loss=loss_of, score_batches=given, **settings)


@pytest.mark.parametrize("kind", ["magnitude", "taylor", "gradient"])
def test_a_row_is_what_numpy_says(kind):
    model = mlp()
    pruner = FAMILIES[kind](model)
    events = recorder(pruner)
    for event in range(6):
        move(model, event)
        w, alive = weights_of(pruner), mask_of(pruner)
        w[~alive] = 0
        pruner.weights["0"].enforce()
        before = accuracy_of(model)["accuracy"] if event == 0 else None
        gradients = [
            torch.autograd.grad(loss_of(model, g), [v.parameter for v in pruner.weights.values()])
            for g in events.score_batches
        ]
        g = np.mean([np.concatenate([p.abs().numpy().ravel() for p in each]) for each in gradients], axis=0)
        score = {"magnitude": np.abs(w), "taylor": np.abs(w) * g, "gradient": g}[kind]
        metrics = events(model)
        row = -1
        history = events.history
        n_kept = round(max(0.8 ** (event + 1), 0.1) * w.size)
        order = np.sort(score[alive])
        assert history.density[row] == n_kept / w.size
        assert history.saliency[row] == pytest.approx(order[-n_kept - 1], rel=1e-5)
        assert history.mean_kept[row] == pytest.approx(order[-n_kept:].mean(), rel=1e-4)
        assert history.accuracy[row] == metrics["accuracy_before"]
        if before is not None:
            assert history.accuracy[row] == before != accuracy_of(model)["accuracy"]
    assert history.step.size == 6
    assert np.isnan(history.growth[0])
    assert np.isfinite(history.growth[1:]).all()
    assert np.isnan(history.flux_median).all()  # none was asked for


def test_growth_is_what_the_survivors_did():
    """All weights grow by 7 % from event to event: e is 0.07 and nu follows; by another factor it does not."""
    model = mlp()
    pruner = FAMILIES["magnitude"](model)
    events = recorder(pruner)
    for _ in range(5):
        events(model)
        with torch.no_grad():
            for weight in pruner.weights.values():
                weight.parameter.mul_(1.07)
    assert events.history.growth[1:] == pytest.approx(np.full(4, 0.07), rel=1e-4)
    assert events.history.near_growth == pytest.approx(events.history.growth, rel=1e-4, nan_ok=True)
    assert events.history.rank_correlation[1:] == pytest.approx(np.ones(4))
    nu = compensation_exponent(float(events.history.growth[1]), 0.8)
    assert nu == pytest.approx(math.log(1.07) / math.log(1 / 0.8), rel=1e-4)


def test_pressure_is_that_of_the_density():
    """Not the one that comes next, which the refresh at the end of an event sets."""
    model = mlp()
    flux = FAMILIES["hyperflux"](model)
    events = recorder(flux)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    batches = TensorBatches(X, Y, 16)
    train_epochs(model, optimizer, batches, epochs=5, loss=loss_of, pruner=flux, evaluate=events)
    assert events.history.saliency.tolist() == [0.01 * 4.0**k for k in range(1, 6)]
    assert flux.pressure == 0.01 * 4.0**6
    assert events.history.density[-1] == flux.current_density < 1.0
    assert np.isnan(events.history.mean_kept).all()


def test_static_pruning_is_the_distribution_itself():
    from experiments.static_null import prune_smallest

    model = mlp()
    pruner = Magnitude(model, 0.02, schedule="iterative", kept=0.9)
    sizes = np.abs(weights_of(pruner))
    events = recorder(pruner)
    for _ in range(30):
        events(model)
    saliency, density = prune_smallest(sizes, 0.1, 0.05)
    n = min(saliency.size, 20)
    assert events.history.density[:n] == pytest.approx(density[:n], rel=0.02)  # one rounds down each time
    expected = np.interp(-np.log(events.history.density[:n]), -np.log(density), np.log(saliency))
    assert np.log(events.history.saliency[1:n]) == pytest.approx(expected[1:], abs=0.05)
    assert (events.history.growth[1:n] == 0).all()


def test_flux_is_by_removal():
    model = mlp(widths=(20, 4, 5))
    pruner = FAMILIES["magnitude"](model)
    events = PruningEvents(
        pruner, accuracy_of, loss=loss_of, flux_batches=[(X, Y)], flux_sample=10**6, seed=3
    )
    events(model)
    fluxes = []
    for weight in pruner.weights.values():
        for place in torch.nonzero(weight.mask).tolist():
            value = float(weight.parameter.data[tuple(place)])
            weight.parameter.data[tuple(place)] = 0.0
            (g,) = torch.autograd.grad(loss_of(model, (X, Y)), [weight.parameter])
            weight.parameter.data[tuple(place)] = value
            fluxes.append(-KAPPA * pruner.n_weights * value * float(g[tuple(place)]))
    assert events.history.flux_low[0] == pytest.approx(np.quantile(fluxes, 0.05), rel=1e-4)
    assert events.history.flux_median[0] == pytest.approx(np.median(fluxes), rel=1e-4)


@pytest.mark.parametrize("kind", [*FAMILIES, "shuffled"])
def test_cut_off_and_gone_on_bit_for_bit(kind):
    make = FAMILIES.get(kind) or (lambda m: Taylor(m, 0.1, shuffled=True, **ITERATIVE))

    def start(seed):
        model = mlp(seed)
        pruner = make(model)
        return model, torch.optim.Adam(model.parameters(), 1e-2), pruner, recorder(pruner, flux_sample=3,
                                                                                  flux_batches=[(X, Y)])  # fmt: skip

    def go(seed, epochs, state=None, saved=None, on_epoch=None):
        model, optimizer, pruner, events = start(seed)
        if saved is not None:
            events.load_state_dict(saved)
        batches = TensorBatches(X, Y, 16, seed=1)

        def keep(state):
            if on_epoch is not None:
                on_epoch(state, events.state_dict())

        train_epochs(
            model,
            optimizer,
            batches,
            epochs=epochs,
            loss=loss_of,
            pruner=pruner,
            evaluate=events,
            state=state,
            on_epoch=keep,
        )
        return events.history, weights_of(pruner)

    states = []
    whole, weights = go(0, 6, on_epoch=lambda *both: states.append(both))
    again, other = go(7, 6, *states[2])
    assert again == whole
    assert (other == weights).all()
    assert go(7, 6)[0] != whole  # the control: another start


def test_a_state_of_four_columns_can_be_read():
    model = mlp()
    pruner = FAMILIES["magnitude"](model)
    recorder(pruner)(model)
    state = pruner.state_dict()
    state["history"] = {n: state["history"][n] for n in ("step", "saliency", "density", "accuracy")}
    other = FAMILIES["magnitude"](mlp(1))
    other.load_state_dict(state)
    assert other.history.saliency.tolist() == pruner.history.saliency.tolist()
    assert np.isnan(other.history.mean_kept).all()


def test_the_curve_goes_to_the_fit(tmp_path):
    model = mlp()
    pruner = FAMILIES["magnitude"](model)
    events = recorder(pruner)
    for _ in range(3):
        events(model)
    events.history.to_csv(tmp_path / "curve.csv")
    text = (tmp_path / "curve.csv").read_text().splitlines()
    assert text[0] == "Saliency,Remaining,Accuracy"
    assert len(text) == 4


# shuffled scores


def test_shuffled_scores_cut_at_random():
    """Links of any size go, and the saliency is still the threshold of the true scores; the control is not."""
    for shuffled in (False, True):
        model = mlp(widths=(40, 60, 40))
        pruner = Magnitude(model, 0.5, shuffled=shuffled)
        sizes = np.abs(weights_of(pruner))
        pruner.refresh()
        kept = mask_of(pruner)
        n = kept.sum()
        assert pruner.saliency() == pytest.approx(np.sort(sizes)[-n - 1], rel=1e-6)
        z = (sizes[kept].mean() - sizes.mean()) / (sizes.std() / math.sqrt(2 * n))
        assert (abs(z) < 4) == shuffled


def test_shuffled_scores_stay_among_the_kept():
    pruner = Magnitude(mlp(), 0.1, shuffled=True, **ITERATIVE)
    pruner.refresh()
    alive = mask_of(pruner)
    sizes = np.abs(weights_of(pruner)[alive])
    found = np.concatenate([s.numpy().ravel() for s in pruner.scores().values()])
    assert np.sort(found[alive]) == pytest.approx(np.sort(sizes))
    assert (found[~alive] < 0).all()
    pruner.refresh()
    assert not (mask_of(pruner) & ~alive).any()


# random pruning with regrowth


def test_regrowth_returns_the_larger_half_of_the_flux():
    model = mlp()
    pruner = RandomRegrowth(model, 0.1, kept=0.8, seed=2)
    before, n = weights_of(pruner), pruner.n_weights
    given = [(X, Y)]
    pruner.calibrate(given, loss_of)
    assert (weights_of(pruner) == before).all()  # the trial is over
    trial = np.concatenate([t.numpy().ravel() for t in pruner.trial.values()])
    goes = n - round(0.8 * n)
    assert trial.sum() == 2 * goes
    for weight, part in zip(pruner.weights.values(), pruner.trial.values(), strict=True):
        weight.parameter.data.mul_(~part)
    g = torch.autograd.grad(loss_of(model, (X, Y)), [w.parameter for w in pruner.weights.values()])
    flux = -KAPPA * n * before * np.concatenate([p.numpy().ravel() for p in g])
    for weight, part in zip(pruner.weights.values(), np.split(before, [800, 2000]), strict=True):
        weight.parameter.data.copy_(torch.tensor(part).reshape(weight.mask.shape))
    pruner.refresh()
    kept = mask_of(pruner)
    assert kept.sum() == n - goes
    assert kept[~trial].all()
    ranked = np.sort(flux[trial])
    assert flux[trial & kept].min() >= ranked[goes - 1] * (1 - 1e-4)
    assert pruner.saliency() == pytest.approx(max(ranked[goes - 1], 0.0), rel=1e-4)
    assert pruner.mean_kept == pytest.approx(ranked[goes:].mean(), rel=1e-4)
    assert (weights_of(pruner)[kept] == before[kept]).all()
    # the control: magnitude would have kept others
    assert abs(stats.spearmanr(np.abs(before[trial]), flux[trial]).statistic) < 0.5


def test_regrowth_to_the_end():
    model = mlp()
    pruner = RandomRegrowth(model, 0.1, kept=0.6)
    events = recorder(pruner)
    for _ in range(5):
        events(model)
        assert cut_are_zero(pruner)
    assert pruner.n_kept == 215
    assert (np.diff(events.history.density) < 0).all()
    assert np.isnan(events.history.growth).all()  # scores of different draws are not compared
    pruner.finish()


def test_trials_are_drawn_evenly():
    counts = np.zeros(2150)
    for seed in range(60):
        pruner = RandomRegrowth(mlp(), 0.1, kept=0.9, seed=seed)
        pruner._draw()
        counts += np.concatenate([t.numpy().ravel() for t in pruner.trial.values()])
        pruner.remove()
    spread = 60 * 0.2 * 0.8
    assert stats.chi2.sf(((counts - 12) ** 2).sum() / spread, 2149) > 1e-3
    assert stats.chi2.sf(((np.sort(counts)[::-1][:1000] - 12) ** 2).sum() / spread, 999) < 1e-3  # the control


# scores compared


def test_compare_scores():
    rng = np.random.default_rng(0)
    before = rng.lognormal(size=4000)
    after = before * np.where(before <= np.quantile(before, 0.25), 1.2, 0.5)
    found = compare_scores(before, after)
    assert found["near_growth"] == pytest.approx(0.2)
    assert found["growth"] == pytest.approx(-0.5)
    noisy = before * rng.lognormal(sigma=0.7, size=4000)
    noisy[:5] = noisy[5]  # ties
    expected = stats.spearmanr(before, noisy).statistic
    assert compare_scores(before, noisy)["rank_correlation"] == pytest.approx(expected, rel=1e-9)
    cut = np.where(np.arange(4000) % 2, after, -1.0)
    assert compare_scores(before, cut)["near_growth"] == pytest.approx(0.2)
    assert all(math.isnan(v) for v in compare_scores(before[:5], after[:5]).values())
    assert math.isnan(compare_scores(np.ones(20), np.ones(20))["rank_correlation"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PruningEvents(mlp(), accuracy_of), "pruner"),
        (lambda: PruningEvents(FAMILIES["taylor"](mlp()), accuracy_of), "score_batches must hold"),
        (lambda: PruningEvents(FAMILIES["taylor"](mlp()), accuracy_of, score_batches=[X]), "loss must be given"),
        (lambda: PruningEvents(FAMILIES["magnitude"](mlp()), accuracy_of, flux_sample=3), "flux_batches"),
        (lambda: PruningEvents(FAMILIES["magnitude"](mlp()), accuracy_of, flux_sample=-1), "flux_sample"),
        (lambda: PruningEvents(FAMILIES["magnitude"](mlp()), accuracy_of, seed=-1), "seed"),
        (lambda: PruningEvents(FAMILIES["magnitude"](m := mlp()), lambda _: {})(m), "must measure an accuracy"),
        (lambda: RandomRegrowth(mlp(), 0.5).refresh(), "refresh\\(\\) must follow calibrate"),
        (lambda: RandomRegrowth(mlp(), 0.5, dormant="stored"), "dormant must not be given"),
        (lambda: Magnitude(mlp(), 0.5, shuffled=1), "shuffled"),
        (lambda: Random(mlp(), 0.5).record(0.5, 0.1, entropy=1.0), "measured"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_trial_that_fails_leaves_the_weights():
    model = mlp()
    pruner = RandomRegrowth(model, 0.5)
    before = weights_of(pruner)
    with pytest.raises(ValueError, match="loader"):
        pruner.calibrate([], loss_of)
    assert (weights_of(pruner) == before).all()
    with pytest.raises(ValueError, match="refresh"):
        pruner.refresh()
    assert pruner.trial == {}
