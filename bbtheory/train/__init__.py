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
    "hugging_face_callback": "adapters",
    "lightning_callback": "adapters",
    "AttentionTraffic": "attention",
    "measure_attention": "attention",
    "classification": "batches",
    "cross_entropy": "batches",
    "TensorBatches": "batches",
    "BudgetedBroadcast": "budgeted_broadcast",
    "compact": "compaction",
    "CompactReport": "compaction",
    "Dataset": "data",
    "load_data": "data",
    "MissingDataError": "packs",
    "alone": "distributed",
    "Processes": "distributed",
    "RigL": "dynamic",
    "SET": "dynamic",
    "Flow": "flow",
    "estimate_flux": "flux_measurement",
    "Flux": "flux_measurement",
    "FluxMeasurement": "flux_measurement",
    "LayerFlux": "flux_measurement",
    "measure_flux": "flux_measurement",
    "History": "history",
    "Hyperflux": "hyperflux",
    "train_epochs": "loop",
    "NonFiniteError": "masked_model",
    "measure_model": "measurement",
    "UnitTable": "measurement",
    "lenet_300_100": "models",
    "mlp": "models",
    "FollowTrajectory": "pressure",
    "PressureRule": "pressure",
    "Setting": "pressure",
    "SteerDensity": "pressure",
    "measure_projection": "projection",
    "project_to_blocks": "projection",
    "project_to_groups": "projection",
    "Projection": "projection",
    "Pruner": "pruner",
    "Magnitude": "ranked",
    "Random": "ranked",
    "keep_largest": "selection",
    "keep_largest_overall": "selection",
    "measure_semi_structured": "semi_structured",
    "SemiStructuredTiming": "semi_structured",
    "to_semi_structured": "semi_structured",
    "Gradient": "sensitivity",
    "Taylor": "sensitivity",
    "budget_tokens": "token_budget",
    "TokenBudget": "token_budget",
    "TopKActivation": "topk_activation",
    "TrainingRun": "training_run",
    "LayerReport": "unit_report",
    "PruningReport": "unit_report",
    "Wanda": "wanda",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .activity import Activity as Activity
    from .adapters import hugging_face_callback as hugging_face_callback
    from .adapters import lightning_callback as lightning_callback
    from .attention import AttentionTraffic as AttentionTraffic
    from .attention import measure_attention as measure_attention
    from .batches import TensorBatches as TensorBatches
    from .batches import classification as classification
    from .batches import cross_entropy as cross_entropy
    from .budgeted_broadcast import BudgetedBroadcast as BudgetedBroadcast
    from .compaction import CompactReport as CompactReport
    from .compaction import compact as compact
    from .data import Dataset as Dataset
    from .data import load_data as load_data
    from .distributed import Processes as Processes
    from .distributed import alone as alone
    from .dynamic import SET as SET
    from .dynamic import RigL as RigL
    from .flow import Flow as Flow
    from .flux_measurement import Flux as Flux
    from .flux_measurement import FluxMeasurement as FluxMeasurement
    from .flux_measurement import LayerFlux as LayerFlux
    from .flux_measurement import estimate_flux as estimate_flux
    from .flux_measurement import measure_flux as measure_flux
    from .history import History as History
    from .hyperflux import Hyperflux as Hyperflux
    from .loop import train_epochs as train_epochs
    from .masked_model import NonFiniteError as NonFiniteError
    from .measurement import UnitTable as UnitTable
    from .measurement import measure_model as measure_model
    from .models import lenet_300_100 as lenet_300_100
    from .models import mlp as mlp
    from .packs import MissingDataError as MissingDataError
    from .pressure import FollowTrajectory as FollowTrajectory
    from .pressure import PressureRule as PressureRule
    from .pressure import Setting as Setting
    from .pressure import SteerDensity as SteerDensity
    from .projection import Projection as Projection
    from .projection import measure_projection as measure_projection
    from .projection import project_to_blocks as project_to_blocks
    from .projection import project_to_groups as project_to_groups
    from .pruner import Pruner as Pruner
    from .ranked import Magnitude as Magnitude
    from .ranked import Random as Random
    from .selection import keep_largest as keep_largest
    from .selection import keep_largest_overall as keep_largest_overall
    from .semi_structured import SemiStructuredTiming as SemiStructuredTiming
    from .semi_structured import measure_semi_structured as measure_semi_structured
    from .semi_structured import to_semi_structured as to_semi_structured
    from .sensitivity import Gradient as Gradient
    from .sensitivity import Taylor as Taylor
    from .token_budget import TokenBudget as TokenBudget
    from .token_budget import budget_tokens as budget_tokens
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
