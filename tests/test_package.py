import doctest
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bbtheory

ROOT = Path(__file__).resolve().parent.parent
LIGHT = [m.name for m in pkgutil.walk_packages(bbtheory.__path__, "bbtheory.") if ".train" not in m.name]


def test_every_public_name_is_there():
    for name in bbtheory.__all__:
        assert getattr(bbtheory, name) is not None
        assert name in dir(bbtheory)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bbtheory.nonsense


@pytest.mark.parametrize("module", [m for m in LIGHT if not m.endswith("__main__")])
def test_the_examples_in_docstrings_run(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_the_wheel_solves_fits_and_reports_on_its_own(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    shipped = {
        "py.typed",
        "report/equilibrium.js",
        "report/explorer.js",
        "report/explorer.html",
        "report/page.css",
    }
    assert {f"bbtheory/{name}" for name in shipped} <= set(names)
    assert not [
        n for n in names if n.split("/")[0] in ("experiments", "figures", "paper_checks", "tests", "results")
    ]
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site")}

    def run(*argv):
        call = [sys.executable, "-m", *argv]
        return subprocess.run(call, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout

    assert json.loads(run("bbtheory.solve", "--beta", "0.5", "--json"))["status"] == "converged"
    run("bbtheory.fit", "--example", "examples")
    _, units = sorted((tmp_path / "examples").glob("*.csv"))
    assert json.loads(run("bbtheory.fit", "balance", str(units), "--json"))["kind"] == "balance"
    assert run("bbtheory.report").startswith("report.html: 0 verdicts, 0 figures, 0 records, ")
    assert "equilibrium.solve" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_readme_opens_with_exactly_the_two_commands():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^```\n(.*?)\n```", text, flags=re.MULTILINE | re.DOTALL)[:2]
    assert commands == [
        "pip install -e . && python -m bbtheory.solve --beta 0.5",
        "pip install -e '.[test]' && python -m pytest",
    ]
    assert "makes no network faster" in text[: text.index("## ")]


def test_the_map_in_the_readme_names_what_there_is():
    text = (ROOT / "README.md").read_text()
    for folder in (".", "theory", "fit", "solve", "simulate", "measure", "train", "report"):
        for path in (ROOT / "bbtheory" / folder).glob("*.py"):
            if not path.stem.startswith("_"):
                assert re.search(rf"\b{path.stem}\b", text), f"{path.stem} is missing from the README's map"
