"""What a simulation or a trained network does: NumPy arrays in, one frozen record out; on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# public name -> the module that defines it
_EXPORTS = {
    "Activity": "activity",
    "measure_activity": "activity",
    "Coding": "coding",
    "measure_coding": "coding",
    "average_precision": "detection",
    "best_threshold": "detection",
    "Detection": "detection",
    "measure_detection": "detection",
    "measure_segmentation": "segmentation",
    "region_recall": "segmentation",
    "Segmentation": "segmentation",
    "measure_overlap": "sparsity",
    "measure_sparsity": "sparsity",
    "Overlap": "sparsity",
    "Sparsity": "sparsity",
    "cosine_pairs": "verification",
    "measure_verification": "verification",
    "Verification": "verification",
}

__all__ = sorted(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]  # from the table above

if TYPE_CHECKING:
    from .activity import Activity as Activity
    from .activity import measure_activity as measure_activity
    from .coding import Coding as Coding
    from .coding import measure_coding as measure_coding
    from .detection import Detection as Detection
    from .detection import average_precision as average_precision
    from .detection import best_threshold as best_threshold
    from .detection import measure_detection as measure_detection
    from .segmentation import Segmentation as Segmentation
    from .segmentation import measure_segmentation as measure_segmentation
    from .segmentation import region_recall as region_recall
    from .sparsity import Overlap as Overlap
    from .sparsity import Sparsity as Sparsity
    from .sparsity import measure_overlap as measure_overlap
    from .sparsity import measure_sparsity as measure_sparsity
    from .verification import Verification as Verification
    from .verification import cosine_pairs as cosine_pairs
    from .verification import measure_verification as measure_verification


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bbtheory.measure' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"bbtheory.measure.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_EXPORTS))
