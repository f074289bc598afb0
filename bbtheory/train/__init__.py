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
    "Changes": "data_changes",
    "load_changes": "data_changes",
    "split_blocks": "data_changes",
    "Tiles": "data_changes",
    "Faces": "data_faces",
    "FaceSplit": "data_faces",
    "load_faces": "data_faces",
    "split_faces": "data_faces",
    "FolderBatches": "data_images",
    "ImageFolder": "data_images",
    "Images": "data_images",
    "load_image_folder": "data_images",
    "load_images": "data_images",
    "MissingDataError": "packs",
    "alone": "distributed",
    "Processes": "distributed",
    "RigL": "dynamic",
    "SET": "dynamic",
    "History": "history",
    "PosedImages": "image_batches",
    "ImageFiles": "image_files",
    "train_epochs": "loop",
    "NonFiniteError": "masked_model",
    "measure_model": "measurement",
    "UnitTable": "measurement",
    "lenet_300_100": "models",
    "mlp": "models",
    "block_convolutions": "models_resnet",
    "resnet": "models_resnet",
    "ResNet": "models_resnet",
    "pointwise_convolutions": "models_resnet",
    "change_loss": "models_siamese",
    "siamese_network": "models_siamese",
    "siamese_reach": "models_siamese",
    "SiameseNetwork": "models_siamese",
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
    "TileBatches": "tile_batches",
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
    from .data_changes import Changes as Changes
    from .data_changes import Tiles as Tiles
    from .data_changes import load_changes as load_changes
    from .data_changes import split_blocks as split_blocks
    from .data_faces import Faces as Faces
    from .data_faces import FaceSplit as FaceSplit
    from .data_faces import load_faces as load_faces
    from .data_faces import split_faces as split_faces
    from .data_images import FolderBatches as FolderBatches
    from .data_images import ImageFolder as ImageFolder
    from .data_images import Images as Images
    from .data_images import load_image_folder as load_image_folder
    from .data_images import load_images as load_images
    from .distributed import Processes as Processes
    from .distributed import alone as alone
    from .dynamic import SET as SET
    from .dynamic import RigL as RigL
    from .history import History as History
    from .image_batches import PosedImages as PosedImages
    from .image_files import ImageFiles as ImageFiles
    from .loop import train_epochs as train_epochs
    from .masked_model import NonFiniteError as NonFiniteError
    from .measurement import UnitTable as UnitTable
    from .measurement import measure_model as measure_model
    from .models import lenet_300_100 as lenet_300_100
    from .models import mlp as mlp
    from .models_resnet import ResNet as ResNet
    from .models_resnet import block_convolutions as block_convolutions
    from .models_resnet import pointwise_convolutions as pointwise_convolutions
    from .models_resnet import resnet as resnet
    from .models_siamese import SiameseNetwork as SiameseNetwork
    from .models_siamese import change_loss as change_loss
    from .models_siamese import siamese_network as siamese_network
    from .models_siamese import siamese_reach as siamese_reach
    from .packs import MissingDataError as MissingDataError
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
    from .tile_batches import TileBatches as TileBatches
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
