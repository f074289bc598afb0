"""The house rules that a file can be read for: who imports whom, what a result is, what a file is called."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import inspect
import pkgutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import bbtheory
from bbtheory.catalog import imported_modules
from bbtheory.records import Record

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bbtheory", "experiments", "figures", "paper_checks")
FILES = sorted(p.relative_to(ROOT).as_posix() for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))

BASE = ("validate", "records", "storage", "tables", "provenance")  # may be imported from anywhere
FACE = (*BASE, "cli", "plots")  # what a command line stands on
DRIVER = (*BASE, "cli", "archive", "catalog", "layout")


@dataclass(frozen=True)
class Row:
    """Files (shell patterns) and what they may import: modules of bbtheory, libraries beyond the standard.

    A module stands for what lies below it too; ``*`` stands for all of bbtheory, or for any library but those
    in ``never``.
    """

    files: tuple[str, ...]
    modules: tuple[str, ...]
    libraries: tuple[str, ...]
    never: tuple[str, ...] = ()


# the first row that fits a file holds; simulations and trainers may use the definitions (theory.entropy),
# never the solutions, or a check would compare the theory with itself
TABLE = (
    Row(("bbtheory/__init__.py",), ("*",), ()),
    Row(("bbtheory/schedules.py",), BASE, ()),
    Row(("bbtheory/records.py",), BASE, ("numpy", "pandas")),
    Row(
        ("bbtheory/validate.py", "bbtheory/storage.py", "bbtheory/tables.py", "bbtheory/term_probability.py"),
        BASE,
        ("numpy",),
    ),
    Row(("bbtheory/tasks.py",), (*BASE, "term_probability"), ("numpy",)),
    Row(("bbtheory/provenance.py", "bbtheory/archive.py"), BASE, ("numpy",)),
    Row(("bbtheory/cli.py", "bbtheory/catalog.py", "bbtheory/layout.py"), BASE, ("numpy",)),
    Row(("bbtheory/plots.py",), (*BASE, "theory", "fit"), ("numpy", "matplotlib")),
    Row(("bbtheory/solve/*",), (*FACE, "theory", "schedules", "solve"), ("numpy", "tqdm")),
    Row(("bbtheory/report/*",), (*DRIVER, "report"), ("numpy",)),
    Row(
        ("bbtheory/theory/derivations*", "bbtheory/theory/derivations/*"),
        (*FACE, "theory"),
        ("numpy", "scipy", "sympy"),
    ),
    Row(("bbtheory/theory/*_kernel.py",), ("theory",), ("numpy", "numba", "llvmlite")),
    Row(("bbtheory/theory/*",), (*BASE, "schedules", "theory"), ("numpy", "scipy")),
    Row(
        ("bbtheory/simulate/*",),
        (*BASE, "schedules", "tasks", "theory.entropy", "simulate"),
        ("numpy", "numba"),
    ),
    Row(("bbtheory/train/*_kernel.py",), ("train",), ("numpy", "numba", "triton", "torch")),
    Row(("bbtheory/train/cremi.py",), ("validate",), ("numpy", "h5py")),
    Row(
        ("bbtheory/train/*",),
        (*BASE, "schedules", "theory.entropy", "train"),
        ("numpy", "torch", "sklearn", "PIL"),
    ),
    Row(("bbtheory/measure/*",), (*BASE, "theory.entropy", "measure"), ("numpy",)),
    Row(("bbtheory/fit/*_kernel.py",), ("fit",), ("numpy", "numba")),
    Row(("bbtheory/fit/*",), (*FACE, "theory.entropy", "fit"), ("numpy", "scipy")),
    Row(
        ("experiments/_contest*.py", "experiments/_hyperflux.py", "experiments/_law*.py"),
        ("*",),
        ("numpy", "torch"),
    ),
    Row(("experiments/_*.py",), DRIVER, ("numpy", "tqdm", "joblib", "distributed")),
    Row(("experiments/*",), ("*",), ("*",), never=("matplotlib",)),
    Row(("figures/_*.py",), (*DRIVER, "plots"), ("numpy", "joblib", "tqdm", "matplotlib")),
    Row(("figures/*",), (*BASE, "plots", "theory", "fit"), ("numpy", "matplotlib")),
    Row(("paper_checks/_contests.py",), ("fit",), ("numpy", "scipy")),
    Row(("paper_checks/_courses.py",), ("fit",), ("numpy",)),
    Row(("paper_checks/_*.py", "paper_checks/protocol.py"), DRIVER, ()),
    Row(("paper_checks/*",), ("*",), ("numpy", "scipy", "sympy")),
)


def exported(dotted: str) -> str:
    """Return where a name lies that is imported from the package itself."""
    first, _, rest = dotted.partition(".")
    home = bbtheory._EXPORTS.get(rest) if first == "bbtheory" else None
    return f"bbtheory.{home}" if home else dotted


def violations(file: str, source: str) -> list[str]:
    """Return what a file imports against the table."""
    row = next((row for row in TABLE if any(fnmatch.fnmatch(file, pattern) for pattern in row.files)), None)
    if row is None:
        return [f"{file} stands in no row of the imports table"]
    package = ".".join(Path(file).parts[:-1])
    wrong = []
    for dotted in sorted(imported_modules(source, package)):
        first, _, rest = exported(dotted).partition(".")
        if first == "bbtheory":
            ours = ("*" in row.modules) or rest == "__version__"
            ours = ours or any(rest == m or rest.startswith(f"{m}.") for m in row.modules)
            # ``import bbtheory`` alone loads nothing more
            allowed = ours or not rest
        elif first in FOLDERS:
            # checks and figures name the type of the records they read
            allowed = first == package or (first == "experiments" and package in ("figures", "paper_checks"))
        else:
            known = first in sys.stdlib_module_names or first in row.libraries
            allowed = first not in row.never and (known or "*" in row.libraries)
        if not allowed:
            wrong.append(f"{file} must not import {dotted}")
    return wrong


@pytest.mark.parametrize("file", FILES)
def test_imports(file):
    assert violations(file, (ROOT / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("bbtheory/simulate/population.py", "from bbtheory.theory.equilibrium import solve_equilibrium"),
        ("bbtheory/simulate/population.py", "from bbtheory import solve_equilibrium"),
        ("bbtheory/simulate/population.py", "from ..theory import equilibrium"),
        ("bbtheory/simulate/population.py", "from ..theory import *"),
        ("bbtheory/simulate/population.py", "def f():\n    import bbtheory.theory.balance as b"),
        ("bbtheory/train/pruners.py", "from bbtheory.theory.balance import target_degree"),
        ("bbtheory/train/pruners.py", "import numba"),
        ("bbtheory/train/pruners.py", "from bbtheory.fit import power_law"),
        ("bbtheory/fit/balance.py", "import bbtheory.theory.balance"),
        ("bbtheory/fit/balance.py", "import numba"),
        ("bbtheory/measure/activity.py", "import torch"),
        ("bbtheory/theory/dual.py", "import sympy"),
        ("bbtheory/theory/dual.py", "import matplotlib.pyplot as plt"),
        ("bbtheory/theory/dual.py", "from bbtheory.simulate import population"),
        ("bbtheory/validate.py", "from bbtheory.theory import entropy"),
        ("bbtheory/schedules.py", "import numpy as np"),
        ("bbtheory/solve/units.py", "import matplotlib"),
        ("bbtheory/provenance.py", "import experiments.static_null"),
        ("experiments/static_null.py", "import matplotlib.pyplot"),
        ("experiments/static_null.py", "import figures.static_null"),
        ("figures/static_null.py", "from bbtheory.train import data"),
        ("figures/static_null.py", "from bbtheory.simulate import population"),
        ("figures/static_null.py", "import torch"),
        ("paper_checks/flux.py", "import matplotlib"),
        ("bbtheory/new_folder/file.py", "import math"),
    ],
)
def test_the_table_catches(file, source):
    assert len(violations(file, source)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("bbtheory/simulate/population.py", "from bbtheory.theory.entropy import coding_entropy"),
        ("bbtheory/simulate/population.py", "from bbtheory import validate, coding_entropy, schedules"),
        ("bbtheory/theory/dual.py", "import bbtheory\nfrom . import dual_kernel\nfrom scipy import optimize"),
        ("bbtheory/fit/segments_kernel.py", "from numba import njit"),
        ("experiments/bench_x.py", "import cvxpy, torch\nfrom bbtheory.train import data"),
        (
            "paper_checks/flux.py",
            "from bbtheory import fit_power_law\nfrom experiments.static_null import Result",
        ),
    ],
)
def test_the_table_allows(file, source):
    assert violations(file, source) == []


def loaded_by(statement: str) -> set[str]:
    """Return the libraries that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split()) - set(sys.stdlib_module_names)


HEAVY = {"scipy", "numba", "pandas", "matplotlib", "sympy", "torch", "sklearn", "joblib"}


def test_importing_the_package_loads_numpy_at_most():
    assert not HEAVY & loaded_by("import bbtheory, bbtheory.records, bbtheory.validate")
    assert loaded_by("import numpy") - {"numpy"} == loaded_by("import bbtheory") - {"numpy", "bbtheory"}


def test_reading_records_loads_no_torch_and_no_peer():
    # figures and checks import experiments to read their records
    statement = (
        "from bbtheory.catalog import Catalog\nc = Catalog('experiments')\n[c.load(n) for n in c.names]"
    )
    assert not {"torch", "matplotlib", "cvxpy", "pwlf", "lmfit"} & loaded_by(statement)


def test_checks_and_experiments_load_no_matplotlib():
    assert "matplotlib" not in loaded_by("import experiments._driver, paper_checks._driver")


def record_types() -> list[type[Record]]:
    """Return every Record subclass of this project, those that need torch left out where it is missing."""
    for folder in FOLDERS:
        package = importlib.import_module(folder)
        for found in pkgutil.walk_packages(package.__path__, f"{folder}."):
            if found.name.endswith("__main__"):
                continue
            try:
                importlib.import_module(found.name)
            except ImportError as error:
                if (error.name or "").partition(".")[0] not in ("torch", "triton"):
                    raise
    found, waiting = [], [Record]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.partition(".")[0] in FOLDERS:
                found.append(kind)
    return found


def faults(kind: type[Record]) -> list[str]:
    """Return how a result type breaks the rules of records."""
    found = []
    # the only place where a dataclass keeps how it was made
    if not dataclasses.is_dataclass(kind) or not kind.__dataclass_params__.frozen:
        found.append("must be frozen")
    if "__dataclass_fields__" not in vars(kind):
        found.append("must be a dataclass itself")
    if "__eq__" in vars(kind) or "__hash__" in vars(kind):
        found.append("must define no __eq__ of its own (eq=False)")
    return found


def test_every_result_is_a_frozen_record():
    types = record_types()
    assert "CheckResult" in {kind.__name__ for kind in types}
    assert {kind.__qualname__: faults(kind) for kind in types if faults(kind)} == {}


def test_the_record_rules_catch():
    @dataclasses.dataclass(frozen=True)
    class Compares(Record):
        a: int

    @dataclasses.dataclass(frozen=True, eq=False)
    class Defines(Record):
        a: int

        def __eq__(self, other: object) -> bool:
            return True

    class Bare(Record):
        a: int

    assert "must define no __eq__ of its own (eq=False)" in faults(Compares)
    assert "must define no __eq__ of its own (eq=False)" in faults(Defines)
    assert faults(Bare) == ["must be a dataclass itself"]


def test_no_drawer_for_odds_and_ends():
    odd = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [file for file in FILES if Path(file).stem.strip("_") in odd] == []


def test_public_names_exist():
    for name in bbtheory.__all__:
        home = bbtheory._EXPORTS.get(name)
        if home is None or (ROOT / "bbtheory" / (home.replace(".", "/") + ".py")).exists():
            assert getattr(bbtheory, name) is not None


@pytest.mark.parametrize("file", FILES)
def test_every_file_says_what_it_is(file):
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    source = (ROOT / file).read_text(encoding="utf-8")
    assert inspect.cleandoc(source).startswith('"""'), f"{name} must begin with its docstring"
