"""Who made a result: the hash of its settings, the commit, versions and machine."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import bbtheory
from bbtheory.records import plain, same


def canonical(config: Any) -> str:
    """Return the settings that differ from their defaults, without seeds, as sorted JSON text.

    Leaving defaults out keeps old hashes valid when a new option is added.
    """
    kept = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if field.name != "seeds" and not same(value, default):
            kept[field.name] = plain(value)
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def config_hash(config: Any) -> str:
    """Return the 12 hex digits that name a setting's record."""
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:12]


def commit() -> tuple[str, bool]:
    """Return (commit, code differs from it), from BBTHEORY_COMMIT or the checkout this package lies in."""
    given = os.environ.get("BBTHEORY_COMMIT")
    if given:
        return given, False
    return _checked_out(Path(__file__).resolve().parent.parent)


@functools.cache  # a process runs the code it found when it began
def _checked_out(root: Path) -> tuple[str, bool]:
    if not (root / ".git").exists():
        return "unknown", False
    try:
        # only code that makes results: a record written anew must not make the next one look changed;
        # without the lock that status takes to refresh the index: killed or out of room it would leave it
        git = ["git", "--no-optional-locks", "-C", str(root)]
        run = [
            subprocess.run([*git, *call], capture_output=True, text=True, check=True).stdout
            for call in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "bbtheory", "experiments"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False
    return run[0].strip(), bool(run[1].strip())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device() -> str:
    """Return the accelerator that this process has used, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    return "cpu"


def provenance(config: Any = None, **more: Any) -> dict[str, Any]:
    """Return where a result came from: settings, commit, versions, machine; ``more`` is added as it is."""
    versions = {"python": platform.python_version(), "bbtheory": bbtheory.__version__}
    for library in ("numpy", "scipy", "numba", "scikit-learn", "torch"):
        if library.replace("scikit-learn", "sklearn") in sys.modules:
            versions[library] = importlib.metadata.version(library)
    sha, dirty = commit()
    out: dict[str, Any] = {
        "commit": sha,
        "dirty": dirty,
        "versions": versions,
        "machine": {
            "os": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "device": _device(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
    }
    if config is not None:
        out["config"] = plain(config)
        out["hash"] = config_hash(config)
        out["seeds"] = list(getattr(config, "seeds", ()))
    return out | more
