"""How fast does a small network train on XOR and on a DNF, beside PyTorch and JAX?

Source: none, this is this project's own training loop. The same network, batch, optimizer (Adam, float32)
and task; each contender draws its own fresh examples in every step. Peers: PyTorch eager (its modules, its
Adam, a Python loop) and JAX (one jitted lax.scan over the steps); JAX once more on one fixed batch, where
ours still draws its examples. Each contender is a process of its own, held to one core and one thread, warmed
up and timed in turn with ours; a time is that of the loop alone. Many seeds are two processes of ours, one on
each core, beside one and two of PyTorch. The compilation of the first call has its own rows.

Time: 4 min on two cores (CPU preset), no accelerator. What would count against it, on a quiet machine: XOR
less than 6 times PyTorch's speed or slower than JAX, the DNF less than 15 times PyTorch's or 1.3 times JAX's,
32 seeds on two cores less than 10 times PyTorch's on one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bbtheory import validate
from bbtheory.records import Record
from bbtheory.tasks import BooleanTask, rare_and_common_dnf, xor
from experiments._timing import Row, compare
from experiments.protocol import NotRun, Progress

PEERS = ("torch eager", "JAX scan", "JAX scan, one fixed batch")
# case -> the task, the hidden widths
CASES: dict[str, tuple[BooleanTask, tuple[int, ...]]] = {
    "XOR 2-64-64-1": (xor(), (64, 64)),
    "noisy XOR 2-64-64-1": (xor(input_noise=0.2), (64, 64)),
    "DNF 16-64-1": (rare_and_common_dnf(4, 4), (64,)),
}
N_CORES = 2
RATE, DECAY1, DECAY2, EPS = 1e-3, 0.9, 0.999, 1e-8
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
# trains for that many steps
Loop = Callable[[int], Any]


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    cases : tuple of str
        Which of `CASES`.
    peers : tuple of str
        Which of `PEERS`; those that are not installed are left out and named in the record.
    batch : int
        Examples in a step.
    n_steps : int
        Steps in one timing.
    n_networks : int
        Networks trained on two cores, half of them in each process; 0: none.
    n_first : int
        Timed pairs of first calls, 0 or at least 7.
    n_repeats : int
        Timed pairs of ours and each peer.
    seeds : tuple of int
        The first seeds all networks.
    """

    cases: tuple[str, ...] = tuple(CASES)
    peers: tuple[str, ...] = PEERS
    batch: int = 256
    n_steps: int = 1000
    n_networks: int = 32
    n_first: int = 7
    n_repeats: int = 31
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for case in self.cases:
            validate.choice("cases", case, CASES)
        for peer in self.peers:
            validate.choice("peers", peer, PEERS)
        validate.integer("batch", self.batch, "[1, inf)")
        validate.integer("n_steps", self.n_steps, "[1, inf)")
        validate.integer("n_networks", self.n_networks, "[0, inf)")
        validate.integer("n_first", self.n_first, "[0, inf)")
        validate.integer("n_repeats", self.n_repeats, "[7, inf)")


SMOKE = Config(cases=("XOR 2-64-64-1",), peers=PEERS[:1], n_steps=20, n_networks=0, n_first=0, n_repeats=7)
CPU = Config(n_repeats=15)


@dataclass(frozen=True, eq=False)
class Result(Record):
    """Timings: seconds for all steps of a case."""

    KIND: ClassVar[str] = "bench_boolean"

    n_steps: int
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    """Peers that were asked for and are not installed."""


class Contender:
    """A process that trains on command, held to one core."""

    def __init__(self, name: str, case: str, config: Config, core: int = 0, cache: str | None = None):
        self.name = name
        task = json.dumps([name, case, config.batch, config.seeds[0], core])
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from experiments import bench_boolean; bench_boolean.serve()", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **_ONE_THREAD, **({"NUMBA_CACHE_DIR": cache} if cache else {})},
        )

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, n_steps: int, n_networks: int) -> None:
        """Begin to train networks, one after the other."""
        assert self._process.stdin is not None
        print(json.dumps([n_steps, n_networks]), file=self._process.stdin, flush=True)

    def seconds(self) -> float:
        """Wait for the end of what was begun; return the time it took."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended without an answer, exit code {self._process.wait()}")
        found = json.loads(answer)
        if isinstance(found, str):
            raise NotRun(found)
        return found

    def train(self, n_steps: int, n_networks: int = 1) -> float:
        """Train networks one after the other; return the time it took."""
        self.start(n_steps, n_networks)
        return self.seconds()


def serve() -> None:
    """Be the process of a `Contender`: read how much to train, write the seconds it took."""
    name, case, batch, seed, core = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    make = {
        "ours": _ours,
        PEERS[0]: _torch,
        PEERS[1]: _jax,
        PEERS[2]: partial(_jax, fixed=True),
    }[name]
    task, hidden = CASES[case]
    loops: list[Loop] = []
    for line in sys.stdin:
        n_steps, n_networks = json.loads(line)
        try:
            begin = time.perf_counter()
            for i in range(n_networks):
                if i == len(loops):
                    loops.append(make(task, hidden, batch, seed + i * N_CORES + core))
                loops[i](n_steps)
            print(json.dumps(time.perf_counter() - begin), flush=True)
        except ImportError as error:
            print(json.dumps(str(error.name)), flush=True)


def run(config: Config, progress: Progress) -> Result:
    """Time every case."""
    progress.total(
        len(config.cases) * len(config.peers) + 2 * (config.n_networks > 0) + 2 * (config.n_first > 0)
    )
    rows: list[Row] = []
    missing: set[str] = set()
    for case in config.cases:
        for peer in config.peers:
            try:
                if peer not in missing:
                    rows.append(_beside(case, peer, config))
            except NotRun:
                missing.add(peer)
            progress.tick()
    for n_peers in (1, 2) if config.n_networks else ():
        if PEERS[0] in config.peers and PEERS[0] not in missing and (os.cpu_count() or 1) > 1:
            rows.append(_many(config, n_peers))
        progress.tick()
    if config.n_first:
        rows += _first_calls(config, PEERS[1] in config.peers and PEERS[1] not in missing)
        progress.tick(2)
    if not rows:
        raise NotRun("torch or jax (pip install 'bbtheory[train,bench]')")
    return Result(n_steps=config.n_steps, rows=tuple(rows), missing=tuple(sorted(missing)))


def _beside(case: str, peer: str, config: Config) -> Row:
    """Time one network of ours and of a peer in turn."""
    n = config.n_steps
    with Contender(peer, case, config) as theirs, Contender("ours", case, config) as ours:
        theirs.train(n)
        ours.train(n)
        return compare(
            f"{case}, batch {config.batch}, {n} steps",
            peer,
            [(ours.train(n), theirs.train(n)) for _ in range(config.n_repeats)],
        )


def _many(config: Config, n_peers: int) -> Row:
    """Time many networks in two processes of ours, and in as many of PyTorch."""
    case, networks = config.cases[0], config.n_networks
    n = max(1, config.n_steps // 20)
    with ExitStack() as stack:
        ours, theirs = (
            [stack.enter_context(Contender(name, case, config, core)) for core in range(many)]
            for name, many in (("ours", N_CORES), (PEERS[0], n_peers))
        )

        def together(team: list[Contender]) -> float:
            begin = time.perf_counter()
            for one in team:
                one.start(n, networks // len(team))
            for one in team:
                one.seconds()
            return time.perf_counter() - begin

        for team in (ours, theirs):
            together(team)
        pairs = [(together(ours), together(theirs)) for _ in range(config.n_repeats)]
    plural = "processes" if n_peers > 1 else "process"
    return compare(
        f"{networks} seeds, {case}, {n} steps, 2 processes", f"{PEERS[0]}, {n_peers} {plural}", pairs
    )


def _first_calls(config: Config, with_jax: bool) -> list[Row]:
    """Time the first step of fresh processes, imports included: nothing cached, cached on disk, JAX."""
    case = config.cases[0]

    def first(name: str, cache: str | None = None) -> float:
        with Contender(name, case, config, cache=cache) as one:
            return one.train(1)

    cold, warm, jax = [], [], []
    for _ in range(config.n_first):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(first("ours", folder))
            warm.append(first("ours", folder))
        jax += [first(PEERS[1])] if with_jax else []
    rows = [
        compare(
            f"{case}, first call, nothing cached", "ours, cached on disk", list(zip(cold, warm, strict=True))
        )
    ]
    if with_jax:
        rows.append(
            compare(f"{case}, first call, cached on disk", PEERS[1], list(zip(warm, jax, strict=True)))
        )
    return rows


def _ours(task: BooleanTask, hidden: tuple[int, ...], batch: int, seed: int) -> Loop:
    from bbtheory.simulate.boolean import Trainer
    from bbtheory.simulate.boolean_network import Network
    from bbtheory.simulate.boolean_settings import Training

    network = Network((task.n_inputs, *hidden, 1), "float32", np.random.default_rng(seed))
    training = Training(
        hidden, batch=batch, learning_rate=RATE, first_decay=DECAY1, second_decay=DECAY2, eps=EPS
    )
    return Trainer(task, training, 0.99, network, seed).run


def _torch(task: BooleanTask, hidden: tuple[int, ...], batch: int, seed: int) -> Loop:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sizes = (task.n_inputs, *hidden)
    layers: list[nn.Module] = []
    for below, above in pairwise(sizes):
        layers += [nn.Linear(below, above), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(DECAY1, DECAY2), eps=EPS)
    criterion = nn.BCEWithLogitsLoss()
    chance = torch.tensor(task.probability)
    low, high = task.input_values
    terms = torch.tensor(task.terms)  # all terms are of one length, without negations

    def loop(n_steps: int) -> None:
        for _ in range(n_steps):
            bits = torch.rand(batch, task.n_inputs) < chance
            literals = bits[:, terms]
            if task.rule == "parity":
                label = literals.sum(dim=2)[:, 0] % 2 == 1
            else:
                label = literals.all(dim=2).any(dim=1)
            values = torch.where(bits, high, low)
            if task.input_noise > 0:
                values = values + task.input_noise * torch.randn(values.shape)
            optimizer.zero_grad()
            criterion(model(values), label.float()).backward()
            optimizer.step()

    return loop


def _jax(task: BooleanTask, hidden: tuple[int, ...], batch: int, seed: int, fixed: bool = False) -> Loop:
    import jax  # pyright: ignore[reportMissingImports]  # an extra
    import jax.numpy as jnp  # pyright: ignore[reportMissingImports]  # an extra

    rng = np.random.default_rng(seed)
    parameters = [
        (
            jnp.asarray(rng.normal(0.0, np.sqrt(2.0 / below), (below, above)), jnp.float32),
            jnp.zeros(above, jnp.float32),
        )
        for below, above in pairwise((task.n_inputs, *hidden, 1))
    ]
    chance = jnp.asarray(np.array(task.probability) * 2.0**32, jnp.uint32)
    low, high = task.input_values
    used = sum(map(len, task.terms))  # all terms are of one length, without negations, and stand in order

    def draw(key: Any) -> tuple[Any, Any]:
        # random integers by JAX's default generator: its others and its uniform numbers are slower here
        one, two = jax.random.split(key)
        bits = jax.random.bits(one, (batch, task.n_inputs)) < chance
        literals = bits[:, :used].reshape(batch, task.n_terms, -1)
        if task.rule == "parity":
            label = literals.sum(axis=2)[:, 0] % 2 == 1
        else:
            label = literals.all(axis=2).any(axis=1)
        values = jnp.where(bits, high, low).astype(jnp.float32)
        if task.input_noise > 0:
            values = values + task.input_noise * jax.random.normal(two, values.shape)
        return values, label.astype(jnp.float32)

    def loss(parameters: Any, values: Any, label: Any) -> Any:
        x = values
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        logit = (x @ parameters[-1][0] + parameters[-1][1])[:, 0]
        return jnp.mean(jnp.logaddexp(0.0, logit) - label * logit)

    def step(given: Any, carry: Any) -> Any:
        parameters, first, second, count, key = carry
        if given is None:
            key, now = jax.random.split(key)
            given = draw(now)
        slope = jax.grad(loss)(parameters, *given)
        count = count + 1
        first = jax.tree.map(lambda m, g: DECAY1 * m + (1 - DECAY1) * g, first, slope)
        second = jax.tree.map(lambda v, g: DECAY2 * v + (1 - DECAY2) * g * g, second, slope)
        unbias1, unbias2 = 1 / (1 - DECAY1**count), 1 / (1 - DECAY2**count)
        parameters = jax.tree.map(
            lambda p, m, v: p - RATE * (m * unbias1) / (jnp.sqrt(v * unbias2) + EPS),
            parameters,
            first,
            second,
        )
        return parameters, first, second, count, key

    def many(carry: Any, given: Any, n: int) -> Any:
        return jax.lax.scan(lambda carry, _: (step(given, carry), None), carry, None, length=n)[0]

    compiled = jax.jit(many, static_argnums=2, donate_argnums=0)
    moments = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    carry = (parameters, *moments, jnp.float32(0), jax.random.key(seed))
    given = draw(jax.random.key(seed)) if fixed else None

    def loop(n_steps: int) -> None:
        nonlocal carry
        carry = jax.block_until_ready(compiled(carry, given, n_steps))

    return loop
