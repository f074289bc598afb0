"""A pruner within somebody else's training loop: callbacks for the Hugging Face Trainer and for Lightning.

    pruner = BudgetedBroadcast(model, density=0.3, interval=100, warmup=1000)
    trainer = transformers.Trainer(model, args, ..., callbacks=[hugging_face_callback(pruner)])
    trainer.train()                                 # or trainer.train(resume_from_checkpoint=True)

    pruner = BudgetedBroadcast(module.network, density=0.3, interval=100, warmup=1000)
    trainer = lightning.Trainer(..., callbacks=[lightning_callback(pruner)])
    trainer.fit(module, data)                       # or with ckpt_path=..., to go on

Both call ``step()`` once per optimizer step, however many batches are accumulated for it, and ``finish()`` at
the end of training; its report is the callback's ``report``. The pruner's state lies beside or in every
checkpoint, and a run that goes on from one goes on with its masks, dormant values and on-rates; the pruner is
made anew with the same settings before. The density is logged as "density".
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bbtheory import validate
from bbtheory.train.pruner import Pruner
from bbtheory.train.sharding import is_sharded

if TYPE_CHECKING:
    from bbtheory.train.unit_report import PruningReport

STATE_FILE = "pruner.pt"  # beside the weights in a checkpoint's folder
LOGGED_AS = "density"


def hugging_face_callback(pruner: Pruner, *, resume_from: str | os.PathLike[str] | None = None) -> Any:
    """Return a ``transformers.TrainerCallback`` that drives a pruner.

    Parameters
    ----------
    pruner : Pruner
        Of the model that the Trainer gets.
    resume_from : path, optional
        Checkpoint whose pruner a resumed run takes over; ``output_dir/checkpoint-STEP`` if not given, where
        the Trainer finds its own.

    Returns
    -------
    transformers.TrainerCallback
        With ``load_best_model_at_end`` the masks of the best checkpoint come back with its weights. The
        density is in ``state.log_history``, and in what callbacks print that come after this one; the
        Trainer puts those that report to other services first.

    Raises
    ------
    ImportError
        If transformers is missing.
    ValueError
        If ``pruner`` is none, or its weights are sharded; while training, if the checkpoint that a run goes
        on from has no state of a pruner.
    """
    validate.instance("pruner", pruner, Pruner)
    base = _imported("Hugging Face callbacks", "transformers", "transformers").TrainerCallback
    return type("PrunerCallback", (_HuggingFace, base), {})(pruner, resume_from)


def lightning_callback(pruner: Pruner) -> Any:
    """Return a Lightning ``Callback`` that drives a pruner.

    Parameters
    ----------
    pruner : Pruner
        Of the LightningModule or of a network within it.

    Returns
    -------
    lightning.pytorch.Callback
        Its state is in every checkpoint that holds more than weights. Of several optimizers that step in one
        batch, all count as one step.

    Raises
    ------
    ImportError
        If neither lightning nor pytorch_lightning is there.
    ValueError
        If ``pruner`` is none, or its weights are sharded.
    """
    validate.instance("pruner", pruner, Pruner)
    base = _imported("Lightning callbacks", "lightning", "lightning.pytorch", "pytorch_lightning").Callback
    return type("PrunerCallback", (_Lightning, base), {})(pruner)


def _imported(what: str, package: str, *modules: str) -> Any:
    """Import the first of some modules that is there."""
    for name in modules:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # a package that is there and lacks something else is an error of its own
            if error.name not in (name, name.partition(".")[0]):
                raise
    raise ImportError(f"{what} need {package}: pip install {package}", name=package)


class _Course:
    """What both callbacks do: pack, take over, end, and count the density once per refresh."""

    def __init__(self, pruner: Pruner):
        self.pruner = pruner
        self.report: PruningReport | None = None
        self._density: tuple[int, float] | None = None  # number of refreshes, density
        self._require_whole()

    def density(self) -> float:
        """Density now; masks are counted anew only after a refresh."""
        n = self.pruner.n_refreshes
        if self._density is None or self._density[0] != n:
            self._density = (n, self.pruner.current_density)
        return self._density[1]

    def pack(self) -> dict[str, Any]:
        """State that one process saves for all; all have to call this."""
        self._require_whole()
        self.pruner.pool_statistics()
        return self.pruner.state_dict()

    def take_over(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.pruner.load_state_dict(state)
        self._density = None

    def end(self) -> None:
        """Meet the density, verify, report."""
        self.report = self.pruner.finish()

    def _require_whole(self) -> None:
        if any(is_sharded(weight.mask) for weight in self.pruner.weights.values()):
            raise ValueError(
                "pruner must have whole weights in each process here, got sharded ones: save its "
                "state_dict() with torch.distributed.checkpoint"
            )


class _HuggingFace(_Course):
    """Events of the Trainer; ``on_step_end`` comes once per optimizer step."""

    def __init__(self, pruner: Pruner, resume_from: str | os.PathLike[str] | None):
        super().__init__(pruner)
        self.resume_from = resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step > 0:
            folder = self.resume_from or Path(args.output_dir, f"checkpoint-{state.global_step}")
            self._load(Path(folder))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.pruner.step()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        packed = self.pack()
        if args.should_save:
            folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(packed, folder / STATE_FILE)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        # the Trainer has kept a copy of the logs before it shows them
        for entry in (logs, state.log_history[-1] if state.log_history else None):
            if entry is not None:
                entry[LOGGED_AS] = self.density()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            self._load(Path(state.best_model_checkpoint))
        self.end()

    def _load(self, folder: Path) -> None:
        file = folder / STATE_FILE
        if not file.is_file():
            raise ValueError(
                f"checkpoint must hold the pruner's state {STATE_FILE}, got none in {folder}; "
                "hugging_face_callback(pruner, resume_from=FOLDER) names another place"
            )
        self.take_over(torch.load(file, map_location="cpu", weights_only=True))


class _Lightning(_Course):
    """Events of Lightning; a batch ends without an optimizer step where gradients accumulate."""

    def __init__(self, pruner: Pruner):
        super().__init__(pruner)
        self._optimizer_steps = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._optimizer_steps = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step != self._optimizer_steps:
            self._optimizer_steps = trainer.global_step
            self.pruner.step()
        pl_module.log(LOGGED_AS, self.density(), on_step=True, on_epoch=False)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.end()

    def state_dict(self) -> dict[str, Any]:
        return self.pack()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.take_over(state_dict)
