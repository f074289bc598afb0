"""The CUDA kernel, run by Triton's interpreter on the CPU where Triton is installed: the same masks, ties included."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

# the interpreter is chosen when the kernel is defined, hence a process of its own
SCRIPT = """
import contextlib, torch
from bbtheory.train import keep_largest, selection, selection_triton_kernel as kernel
torch.cuda.device_of = lambda tensor: contextlib.nullcontext()

def select(score, counts, magnitude):
    out = torch.empty(score.shape, dtype=torch.bool)
    kind = score.dtype
    bits = score.view(selection._BITS[kind])
    line = kernel.select_rows(bits, counts, selection._infinity(kind), magnitude, out)
    return line, out

generator = torch.Generator().manual_seed(0)
special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 1.0, -1.0, 1e-45, -1e-45, 65504.0])
for n in (1, 53, 64, 300):
    counts = torch.tensor([0, n, n // 2, n // 3, (n + 1) // 2])
    drawn = [
        torch.randn(5, n, generator=generator, dtype=torch.float64),
        torch.randn(5, n, generator=generator).mul(2).round(),
        special[torch.randint(len(special), (5, n), generator=generator)],
        torch.full((5, n), -3.0),
    ]
    for score in drawn:
        for kind in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            for magnitude in (False, True):
                line, out = select(score.to(kind), counts, magnitude)
                wanted = keep_largest(score.to(kind), counts, magnitude=magnitude)
                assert line == -1 and torch.equal(out, wanted), (n, kind, magnitude)
broken = torch.randn(4, 9, generator=generator)
broken[2, 3] = float("nan")
assert select(broken, torch.full((4,), 3), True)[0] == 2
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_the_interpreted_kernel_agrees():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
