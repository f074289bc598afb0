"""Callbacks: one step per optimizer step, state in the checkpoint, resumption; with stand-ins and the real ones."""

from __future__ import annotations

import copy
import sys
import types
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bbtheory.train import BudgetedBroadcast, hugging_face_callback, lightning_callback
from small_models import batch, mlp


def pruner_of(model):
    return BudgetedBroadcast(model, 0.3, interval=2, warmup=3, ema_decay=0.9)


@pytest.fixture
def stand_ins(monkeypatch):
    """Packages that hold a bare base class each: the callbacks' logic runs without them."""
    for name, base in (("transformers", "TrainerCallback"), ("lightning.pytorch", "Callback")):
        module = types.ModuleType(name)
        setattr(module, base, type(base, (), {}))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))


def micro_batches(model, optimizer, step):
    """Two backward passes and an optimizer step."""
    optimizer.zero_grad()
    for half in batch(step, 32, 20).chunk(2):
        (model(half) - 0.3).pow(2).mean().backward()
        yield
    optimizer.step()


class FakeTrainer:
    """The events of the Trainer, in its order."""

    def __init__(self, folder, model, callback):
        self.model, self.callback = model, callback
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        self.args = SimpleNamespace(output_dir=str(folder), should_save=True, load_best_model_at_end=False)
        self.state = SimpleNamespace(global_step=0, log_history=[], best_model_checkpoint=None)

    def run(self, until, save_at=None):
        call = (self.args, self.state, None)
        saved = None
        self.callback.on_train_begin(*call)
        while self.state.global_step < until:
            for _ in micro_batches(self.model, self.optimizer, self.state.global_step):
                pass
            self.state.global_step += 1
            self.callback.on_step_end(*call)
            logs = {"loss": 1.0}
            self.state.log_history.append(dict(logs))
            self.callback.on_log(*call, logs=logs)
            assert logs["density"] == self.state.log_history[-1]["density"]
            if self.state.global_step == save_at:
                saved = copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))
                self.callback.on_save(*call)
        self.callback.on_train_end(*call)
        return saved


def test_hugging_face_logic(stand_ins, tmp_path):
    model = mlp()
    callback = hugging_face_callback(pruner_of(model))
    trainer = FakeTrainer(tmp_path, model, callback)
    saved = trainer.run(8, save_at=4)
    assert callback.pruner.step_count == 8  # not 16, the number of batches
    assert callback.report.n_kept == 645
    assert [entry["density"] for entry in trainer.state.log_history] == [1.0] * 2 + [0.3] * 6

    other = mlp(seed=1)
    again = FakeTrainer(tmp_path, other, hugging_face_callback(pruner_of(other)))
    other.load_state_dict(saved[0])
    again.optimizer.load_state_dict(saved[1])
    again.state.global_step = 4
    again.run(8)
    assert again.callback.pruner.step_count == 8
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)

    # negative control: the same without the pruner's state ends elsewhere
    (tmp_path / "checkpoint-4" / "pruner.pt").unlink()
    third = mlp(seed=1)
    lost = FakeTrainer(tmp_path, third, hugging_face_callback(pruner_of(third)))
    lost.state.global_step = 4
    with pytest.raises(ValueError, match=r"checkpoint must hold the pruner's state pruner\.pt"):
        lost.run(8)


def test_the_best_checkpoint_brings_its_masks(stand_ins, tmp_path):
    model = mlp()
    callback = hugging_face_callback(pruner_of(model))
    trainer = FakeTrainer(tmp_path, model, callback)
    trainer.args.load_best_model_at_end = True
    trainer.state.best_model_checkpoint = str(tmp_path / "checkpoint-4")
    trainer.run(8, save_at=4)
    best = torch.load(tmp_path / "checkpoint-4" / "pruner.pt", weights_only=True)
    for name, weight in callback.pruner.weights.items():
        assert torch.equal(weight.mask, best["weights"][name]["mask"])
    assert callback.pruner.step_count == 4


def test_resume_from_another_folder(stand_ins, tmp_path):
    model = mlp()
    FakeTrainer(tmp_path, model, hugging_face_callback(pruner_of(model))).run(4, save_at=4)
    callback = hugging_face_callback(pruner_of(mlp()), resume_from=tmp_path / "checkpoint-4")
    callback.on_train_begin(SimpleNamespace(output_dir="elsewhere"), SimpleNamespace(global_step=4), None)
    assert callback.pruner.step_count == 4


def test_lightning_logic(stand_ins):
    model = mlp()
    callback = lightning_callback(pruner_of(model))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer, logged = SimpleNamespace(global_step=0), []
    module = SimpleNamespace(log=lambda name, value, **how: logged.append((name, value)))
    callback.on_train_start(trainer, module)
    for step in range(4):
        for half, _ in enumerate(micro_batches(model, optimizer, step)):
            if half == 0:
                callback.on_train_batch_end(trainer, module, None, None, half)
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, None, None, 1)
    assert callback.pruner.step_count == 4
    assert logged == [("density", 1.0)] * 5 + [("density", 0.3)] * 3
    twin = lightning_callback(pruner_of(mlp()))
    twin.load_state_dict(callback.state_dict())
    assert twin.pruner.step_count == 4
    assert twin.density() == 0.3
    callback.on_train_end(trainer, module)
    assert callback.report.n_kept == 645


@pytest.mark.parametrize(
    ("make", "missing", "message"),
    [
        (hugging_face_callback, ("transformers",), "pip install transformers"),
        (
            lightning_callback,
            ("lightning", "lightning.pytorch", "pytorch_lightning"),
            "pip install lightning",
        ),
    ],
)
def test_a_missing_package(monkeypatch, make, missing, message):
    find = sys.modules["importlib"].import_module

    def without(name):
        if name in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
        return find(name)

    monkeypatch.setattr("bbtheory.train.adapters.importlib.import_module", without)
    with pytest.raises(ImportError, match=message):
        make(pruner_of(mlp()))


def test_bad_input(stand_ins):
    for make in (hugging_face_callback, lightning_callback):
        with pytest.raises(ValueError, match="pruner must be"):
            make(mlp())


def parameters_of(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.filterwarnings("ignore")  # of the Trainer and what it imports, not ours
def test_the_real_trainer(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        pytest.importorskip("accelerate", reason="accelerate is not installed")

    class Regression(nn.Module):
        def __init__(self, seed=0):
            super().__init__()
            self.net = mlp(seed)

        def forward(self, x, labels=None):
            out = self.net(x)
            return {"loss": (out - labels).pow(2).mean(), "logits": out}

    inputs = batch(0, 64, 20)
    data = [{"x": x, "labels": torch.full((5,), 0.3)} for x in inputs]

    def trained(model, resume=False, accumulate=2):
        args = transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=8, per_device_train_batch_size=4, save_steps=4,
            gradient_accumulation_steps=accumulate, logging_steps=1, report_to=[], use_cpu=True, seed=3,
            disable_tqdm=True, learning_rate=1e-2,
        )  # fmt: skip
        callback = hugging_face_callback(pruner_of(model))
        trainer = transformers.Trainer(model, args, train_dataset=data, callbacks=[callback])
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4") if resume else None)
        return trainer, callback

    model = Regression()
    trainer, callback = trained(model)
    assert callback.pruner.step_count == 8
    assert callback.report.n_kept == 645
    assert [row["density"] for row in trainer.state.log_history if "loss" in row] == [1.0] * 2 + [0.3] * 6
    other = Regression(seed=1)
    _, resumed = trained(other, resume=True)
    assert resumed.pruner.step_count == 8
    for a, b in zip(parameters_of(model), parameters_of(other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")  # of Lightning and what it imports, not ours
def test_the_real_lightning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning = pytest.importorskip("lightning", reason="lightning is not installed")
        from lightning.pytorch.callbacks import ModelCheckpoint

    class Regression(lightning.LightningModule):
        def __init__(self, seed=0):
            super().__init__()
            self.net = mlp(seed)

        def training_step(self, x, index):
            return (self.net(x[0]) - 0.3).pow(2).mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    # one epoch is four steps: within an epoch Lightning starts again at its first batch
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(batch(0, 32, 20)), batch_size=4)

    def trained(module, resume=None):
        callback = lightning_callback(pruner_of(module.net))
        trainer = lightning.Trainer(
            max_steps=8, accumulate_grad_batches=2, accelerator="cpu", logger=False, log_every_n_steps=1,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
            callbacks=[callback, ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)],
        )  # fmt: skip
        trainer.fit(module, data, ckpt_path=resume)
        assert trainer.logged_metrics["density"] == pytest.approx(0.3)
        return callback

    module = Regression()
    callback = trained(module)
    assert callback.pruner.step_count == 8
    assert callback.report.n_kept == 645
    other = Regression(seed=1)
    resumed = trained(other, resume=tmp_path / "step=4.ckpt")
    assert resumed.pruner.step_count == 8
    for a, b in zip(parameters_of(module), parameters_of(other), strict=True):
        assert torch.equal(a, b)
