"""Two processes: masks equal on both under data parallelism, sharded with their weights under FSDP2.

torchrun starts them once; the checks are the functions of two_processes.py, each a test of its own here.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bbtheory.train import Pruner
from bbtheory.train.distributed import alone, check_agreement, n_processes, sum_over_processes, unwrapped
from bbtheory.train.sharding import is_sharded, keep_rows, placed, whole
from small_models import mlp

SCRIPT = Path(__file__).parents[1] / "two_processes.py"
CHECKS = [
    node.name
    for node in ast.parse(SCRIPT.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith(("ddp_", "fsdp_", "groups_"))
]

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each process says of each check."""
    folder = tmp_path_factory.mktemp("two_processes")
    paths = [str(SCRIPT.parents[1]), str(SCRIPT.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("check", CHECKS)
def test_two_processes(outcomes, check):
    for rank, outcome in enumerate(outcomes):
        assert outcome[check] == "", f"process {rank}:\n{outcome[check]}"


def test_a_single_process_needs_nothing():
    assert n_processes() == 1
    x = torch.arange(3.0)
    sum_over_processes([x])
    alone([x])
    assert x.tolist() == [0.0, 1.0, 2.0]
    pruner = Pruner(mlp(), 0.5)
    pruner.refresh()
    pruner.verify(agreement=True)
    check_agreement(pruner)


def test_plain_tensors_stay_as_they_are():
    x = torch.arange(6.0).reshape(2, 3)
    assert not is_sharded(x)
    assert whole(x) is x
    assert placed(x, x) is x
    assert keep_rows(x, torch.tensor([1, 2])).tolist() == [[False, False, True], [False, True, True]]


def test_wrappers_are_looked_through():
    model = mlp()
    assert unwrapped(model) is model
    assert unwrapped(nn.DataParallel(torch.compile(model, backend="eager"))) is model
