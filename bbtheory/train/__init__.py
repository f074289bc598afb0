"""Sparse training on real tasks, the only part of the package that needs torch; imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if importlib.util.find_spec("torch") is None:
    raise ImportError("bbtheory.train needs torch: pip install 'bbtheory[train]'", name="torch")

# public name -> the module that defines it
_EXPORTS = {
    "Activity": "activity",
    "AttentionTraffic": "attention",
    "measure_attention": "attention",
    "BudgetedBroadcast": "budgeted_broadcast",
    "Dataset": "data",
    "MissingDataError": "data",
    "load_data": "data",
    "History": "history",
    "UnitTable": "measurement",
    "measure_model": "measurement",
    "NonFiniteError": "masked_model",
    "Magnitude": "ranked",
    "Random": "ranked",
    "Gradient": "sensitivity",
    "Taylor": "sensitivity",
    "Wanda": "wanda",
    "SET": "dynamic",
    "RigL": "dynamic",
    "TopKActivation": "topk_activation",
    "Pruner": "pruner",
    "keep_largest": "selection",
    "keep_largest_overall": "selection",
    "TensorBatches": "batches",
    "classification": "batches",
    "cross_entropy": "batches",
    "train_epochs": "loop",
    "lenet_300_100": "models",
    "mlp": "models",
    "TrainingRun": "training_run",
    "LayerReport": "unit_report",
    "PruningReport": "unit_report",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .activity import Activity as Activity
    from .attention import AttentionTraffic as AttentionTraffic
    from .attention import measure_attention as measure_attention
    from .batches import TensorBatches as TensorBatches
    from .batches import classification as classification
    from .batches import cross_entropy as cross_entropy
    from .budgeted_broadcast import BudgetedBroadcast as BudgetedBroadcast
    from .data import Dataset as Dataset
    from .data import MissingDataError as MissingDataError
    from .data import load_data as load_data
    from .dynamic import SET as SET
    from .dynamic import RigL as RigL
    from .history import History as History
    from .loop import train_epochs as train_epochs
    from .masked_model import NonFiniteError as NonFiniteError
    from .measurement import UnitTable as UnitTable
    from .measurement import measure_model as measure_model
    from .models import lenet_300_100 as lenet_300_100
    from .models import mlp as mlp
    from .pruner import Pruner as Pruner
    from .ranked import Magnitude as Magnitude
    from .ranked import Random as Random
    from .selection import keep_largest as keep_largest
    from .selection import keep_largest_overall as keep_largest_overall
    from .sensitivity import Gradient as Gradient
    from .sensitivity import Taylor as Taylor
    from .topk_activation import TopKActivation as TopKActivation
    from .training_run import TrainingRun as TrainingRun
    from .unit_report import LayerReport as LayerReport
    from .unit_report import PruningReport as PruningReport
    from .wanda import Wanda as Wanda


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.train' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.train.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))
