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
    "FolderBatches": "data_image_folders",
    "ImageFolder": "data_image_folders",
    "load_image_folder": "data_image_folders",
    "Images": "data_images",
    "load_images": "data_images",
    "load_librispeech": "data_librispeech",
    "load_spoken_digits": "data_spoken_digits",
    "ReadSpeech": "data_librispeech",
    "SpokenDigits": "data_spoken_digits",
    "load_text": "data_text",
    "TextData": "data_text",
    "word_buckets": "data_text",
    "load_volume": "data_volumes",
    "Volume": "data_volumes",
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
    "HyperfluxStack": "hyperflux_stack",
    "PosedImages": "image_batches",
    "ImageFiles": "image_files",
    "keep_distances": "key_distance",
    "measure_key_distances": "key_distance",
    "count_models": "language",
    "next_token_loss": "language",
    "perplexities": "language",
    "surprise": "language",
    "TextBatches": "language",
    "LogMel": "log_mel",
    "train_epochs": "loop",
    "NonFiniteError": "masked_model",
    "measure_model": "measurement",
    "UnitTable": "measurement",
    "lenet_300_100": "models",
    "mlp": "models",
    "block_convolutions": "models_resnet",
    "pointwise_convolutions": "models_resnet",
    "ResNet": "models_resnet",
    "resnet": "models_resnet",
    "change_loss": "models_siamese",
    "siamese_network": "models_siamese",
    "siamese_reach": "models_siamese",
    "SiameseNetwork": "models_siamese",
    "ctc_loss": "models_speech",
    "greedy_decode": "models_speech",
    "SpeechEncoder": "models_speech",
    "OLMO_1B": "models_transformer",
    "Transformer": "models_transformer",
    "transformer": "models_transformer",
    "TransformerShape": "models_transformer",
    "UNet3d": "models_unet",
    "prune_one_shot": "one_shot",
    "MissingDataError": "packs",
    "PatchBatches": "patches",
    "predict_volume": "patches",
    "rare_class_loss": "patches",
    "FollowTrajectory": "pressure",
    "PressureRule": "pressure",
    "Setting": "pressure",
    "SteerDensity": "pressure",
    "measure_projection": "projection",
    "project_to_blocks": "projection",
    "project_to_groups": "projection",
    "Projection": "projection",
    "Pruner": "pruner",
    "compare_scores": "pruning_events",
    "PruningEvents": "pruning_events",
    "Magnitude": "ranked",
    "Random": "ranked",
    "RandomRegrowth": "regrowth",
    "sparse_gpt": "second_order",
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
    "connect_digits": "utterances",
    "ConnectedDigits": "utterances",
    "features_of": "utterances",
    "SpeechBatches": "utterances",
    "Utterances": "utterances",
    "zipf": "utterances",
    "BytePairs": "vocabulary",
    "Characters": "vocabulary",
    "Wanda": "wanda",
    "align_words": "word_errors",
    "count_word_errors": "word_errors",
    "frequency_buckets": "word_errors",
    "WordErrors": "word_errors",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]  # from the table above

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
    from .data_image_folders import FolderBatches as FolderBatches
    from .data_image_folders import ImageFolder as ImageFolder
    from .data_image_folders import load_image_folder as load_image_folder
    from .data_images import Images as Images
    from .data_images import load_images as load_images
    from .data_librispeech import ReadSpeech as ReadSpeech
    from .data_librispeech import load_librispeech as load_librispeech
    from .data_spoken_digits import SpokenDigits as SpokenDigits
    from .data_spoken_digits import load_spoken_digits as load_spoken_digits
    from .data_text import TextData as TextData
    from .data_text import load_text as load_text
    from .data_text import word_buckets as word_buckets
    from .data_volumes import Volume as Volume
    from .data_volumes import load_volume as load_volume
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
    from .hyperflux_stack import HyperfluxStack as HyperfluxStack
    from .image_batches import PosedImages as PosedImages
    from .image_files import ImageFiles as ImageFiles
    from .key_distance import keep_distances as keep_distances
    from .key_distance import measure_key_distances as measure_key_distances
    from .language import TextBatches as TextBatches
    from .language import count_models as count_models
    from .language import next_token_loss as next_token_loss
    from .language import perplexities as perplexities
    from .language import surprise as surprise
    from .log_mel import LogMel as LogMel
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
    from .models_speech import SpeechEncoder as SpeechEncoder
    from .models_speech import ctc_loss as ctc_loss
    from .models_speech import greedy_decode as greedy_decode
    from .models_transformer import OLMO_1B as OLMO_1B
    from .models_transformer import Transformer as Transformer
    from .models_transformer import TransformerShape as TransformerShape
    from .models_transformer import transformer as transformer
    from .models_unet import UNet3d as UNet3d
    from .one_shot import prune_one_shot as prune_one_shot
    from .packs import MissingDataError as MissingDataError
    from .patches import PatchBatches as PatchBatches
    from .patches import predict_volume as predict_volume
    from .patches import rare_class_loss as rare_class_loss
    from .pressure import FollowTrajectory as FollowTrajectory
    from .pressure import PressureRule as PressureRule
    from .pressure import Setting as Setting
    from .pressure import SteerDensity as SteerDensity
    from .projection import Projection as Projection
    from .projection import measure_projection as measure_projection
    from .projection import project_to_blocks as project_to_blocks
    from .projection import project_to_groups as project_to_groups
    from .pruner import Pruner as Pruner
    from .pruning_events import PruningEvents as PruningEvents
    from .pruning_events import compare_scores as compare_scores
    from .ranked import Magnitude as Magnitude
    from .ranked import Random as Random
    from .regrowth import RandomRegrowth as RandomRegrowth
    from .second_order import sparse_gpt as sparse_gpt
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
    from .utterances import ConnectedDigits as ConnectedDigits
    from .utterances import SpeechBatches as SpeechBatches
    from .utterances import Utterances as Utterances
    from .utterances import connect_digits as connect_digits
    from .utterances import features_of as features_of
    from .utterances import zipf as zipf
    from .vocabulary import BytePairs as BytePairs
    from .vocabulary import Characters as Characters
    from .wanda import Wanda as Wanda
    from .word_errors import WordErrors as WordErrors
    from .word_errors import align_words as align_words
    from .word_errors import count_word_errors as count_word_errors
    from .word_errors import frequency_buckets as frequency_buckets


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.train' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.train.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))
