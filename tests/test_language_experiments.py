"""The experiments on the language model, at toy size: what they read, cut, watch and go on from."""

import dataclasses
import importlib.util
import math

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)
import torch

from bbtheory.records import same
from bbtheory.train import load_text
from experiments import actuator_ablation, language_model, one_shot_language_model, overhead_at_scale
from experiments.protocol import NotRun, Progress

TINY = {"width": 8, "ffn": 16, "context": 8, "steps": 6, "test_tokens": 200, "seeds": (0,)}


class Kept(Progress):
    """Keeps the last state, and stops a run after some epochs."""

    def __init__(self, stop_after=None, state=None):
        super().__init__()
        self.state, self.stop_after, self.n = state, stop_after, 0

    def restore(self):
        return self.state

    def save(self, state):
        self.state = state
        self.n += 1
        if self.n == self.stop_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["bb_both", "bb_in"])
def test_a_cut_off_ablation_ends_as_the_whole_one(method):
    config = dataclasses.replace(
        actuator_ablation.SMOKE, methods=(method,), epochs=3, n_refreshes=9, learning_rate=0.03, **TINY
    )
    whole = actuator_ablation.run(config, Progress())
    part = Kept(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        actuator_ablation.run(config, part)
    assert same(actuator_ablation.run(config, Kept(state=part.state)), whole)
    assert whole.churn.size == whole.change.size >= 7
    lost = {**part.state, "watch": {**part.state["watch"], "churn": part.state["watch"]["churn"] * 0}}
    assert not same(actuator_ablation.run(config, Kept(state=lost)), whole), "negative control"


def test_motion_of_degrees():
    watch = actuator_ablation._Watch(None, "bb_in", None)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, 400))
    walks = {
        "period 2": (np.arange(40)[:, None] % 2) * np.ones(400),
        "noise": noise,
        "walk": noise.cumsum(0),
        "drift": np.arange(40)[:, None] * np.ones(400),
    }
    found = {}
    for name, degrees in walks.items():
        watch.degrees = list(degrees)
        found[name] = watch.motion()[1:]
    stderr = 1 / math.sqrt(19 * 400)
    assert found["period 2"] == (pytest.approx(-1.0), 1.0)
    assert found["drift"] == (pytest.approx(1.0), 0.0)
    assert found["noise"][0] == pytest.approx(-0.5, abs=4 * stderr)
    assert found["walk"][0] == pytest.approx(0.0, abs=4 * stderr)
    assert found["noise"][1] == pytest.approx(2 / 3, abs=4 * stderr)


def test_gains_are_those_of_one_link():
    # a tenth of two links is one: the weakest goes; the only link of the second unit keeps it on or not
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[2.0, 0.5], [1.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([-1.0, 0.5]))
    x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True], [True, False]])
    gains = actuator_ablation._gains(model, "0", mask, x)
    on = (model(x) > 0).double().mean(0)
    without = torch.tensor([float((2 * x[:, 0] > 1).double().mean()), 1.0], dtype=torch.float64)
    np.testing.assert_allclose(gains, (on - without).numpy(), atol=1e-12)
    assert model[0].weight.tolist() == [[2.0, 0.5], [1.0, 0.0]]


def test_every_cut_of_one_model():
    config = dataclasses.replace(one_shot_language_model.SMOKE, **TINY)
    cell = one_shot_language_model.run(config, Progress())
    cuts = {(c.method, c.pattern): c for c in cell.cuts}
    assert len(cell.cuts) == len(cuts) == 1 + 2 * 6 + 5
    for cut in cell.cuts[1:]:
        assert cut.density == pytest.approx(0.5, abs=0.07 if cut.part == "attention" else 1e-3)
        assert not cut.worst_gap > 0.5
        assert np.isfinite(cut.metrics).all()
    # weights are put back after every cut; at 2:4 there is no room for degrees
    assert same(cuts["bb", "2:4"].metrics, cuts["magnitude", "2:4"].metrics)
    assert not same(cuts["bb", "free"].metrics, cuts["magnitude", "free"].metrics)
    result = one_shot_language_model.collect(config, [cell, cell])
    assert [row.n for row in result.rows] == [2] * len(cell.cuts)
    assert result.rows[0].perplexity == cell.cuts[0].metrics[0]
    assert math.isnan(result.rows[0].tail_less_dense)


@pytest.mark.parametrize("rule", one_shot_language_model.KEYS)
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_budgets_of_keys_meet_their_share(rule, share):
    from bbtheory.train import TransformerShape, measure_key_distances, transformer

    model = transformer(TransformerShape(9, width=16, depth=1, heads=2, ffn=8, context=40), seed=3)
    codes = torch.randint(0, 9, (4, 40), generator=torch.Generator().manual_seed(0))
    measured = measure_key_distances(model, codes)[0]
    mask = one_shot_language_model._kept(rule, share, measured, np.random.default_rng(0))
    assert mask.shape == (2, 40)
    assert mask[:, 0].all()
    assert mask.mean() == pytest.approx(share, abs=2 / 80)


def test_byte_pairs_are_judged_per_character():
    text = language_model.corpus("descriptions", 300, False, 0, None)
    characters = language_model.corpus("descriptions", 0, False, 0, None)
    assert text.size == 300
    assert len(text.test) < len(characters.test)
    # all but the first token's characters, in the same buckets
    assert abs(int(text.lengths.sum()) - len(characters.lengths)) < 20
    assert set(text.buckets) == set(characters.buckets) == {-1, 0, 1, 2}
    assert characters.baseline["perplexity"] < characters.unigram < characters.size
    held_out = language_model.corpus("descriptions", 0, True, 0, None)
    assert len(held_out.train) == int(0.9 * len(characters.train))


def test_what_is_missing_is_named(tmp_path):
    config = dataclasses.replace(language_model.SMOKE, data="tinyshakespeare", methods=("dense",))
    with pytest.raises(NotRun, match=r"needs data: .* holds no tinyshakespeare"):
        language_model.run(config, Progress(tmp_path))
    with pytest.raises(NotRun, match=r"needs a folder .* with a causal language model"):
        one_shot_language_model.run(
            dataclasses.replace(one_shot_language_model.SMOKE, folder=str(tmp_path / "none")), Progress()
        )
    if not torch.cuda.is_available():
        with pytest.raises(NotRun, match="needs a CUDA device"):
            overhead_at_scale.run(overhead_at_scale.cells(overhead_at_scale.GPU)[0], Progress())


def test_a_causal_model_of_a_folder(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    coder = tokenizers.Tokenizer(tokenizers.models.BPE())
    coder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=letters)
    coder.train_from_iterator([load_text("descriptions").train], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=coder)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    for part in (transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=300, **shape)), tokenizer):
        part.save_pretrained(tmp_path)
    config = dataclasses.replace(
        one_shot_language_model.SMOKE,
        folder=str(tmp_path),
        seeds=(0,),
        test_tokens=200,
        scores=("wanda", "bb"),
    )
    cell = one_shot_language_model.run(config, Progress())
    assert [(cut.method, cut.pattern) for cut in cell.cuts] == [
        ("dense", "free"), ("wanda", "free"), ("wanda", "2:4"), ("bb", "free"), ("bb", "2:4")
    ]  # fmt: skip
    assert all(cut.density == pytest.approx(0.5, abs=0.01) for cut in cell.cuts[1:])
    assert all(np.isfinite(cut.metrics[0]) for cut in cell.cuts)


@pytest.mark.parametrize("module", [language_model, actuator_ablation, one_shot_language_model])
def test_the_gpu_preset_at_tiny_size(module):
    if torch.cuda.is_available():
        pytest.skip("the preset itself can be run")
    tiny = TINY | {"data": "descriptions", "device": "cpu", "depth": 1, "heads": 2, "batch": 4, "epochs": 1}
    config = dataclasses.replace(module.GPU, **tiny, most_samples=200)
    config = dataclasses.replace(config, densities=config.densities[:1])
    if hasattr(config, "windows"):
        config = dataclasses.replace(config, windows=4)
    cells = module.cells(config)
    records = [module.run(cell, Progress()) for cell in (cells[0], cells[-1])]
    assert all(isinstance(record, module.Cell) for record in records)


def test_bad_settings():
    with pytest.raises(ValueError, match="byte_pairs must be"):
        language_model.Config(byte_pairs=100)
    with pytest.raises(ValueError, match=r"test_tokens must be an integer in \[257, inf\)"):
        language_model.Config(test_tokens=256)
    with pytest.raises(ValueError, match="methods must be one of dense, bb_uniform"):
        actuator_ablation.Config(methods=("rigl",))
    with pytest.raises(ValueError, match="scores must be one of"):
        one_shot_language_model.Config(scores=("best",))
    with pytest.raises(ValueError, match="densities must be"):
        one_shot_language_model.Config(densities=(0.7,))
    with pytest.raises(ValueError, match="parts must be one of"):
        overhead_at_scale.Config(parts=("all",))
