"""The checks' driver on toys, and every real check on smoke and on tracked records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bbtheory import archive
from bbtheory.catalog import Catalog
from experiments._driver import main as run_experiments
from paper_checks._driver import judge, main
from paper_checks.protocol import CONFIRMED, REFUTED, UNDECIDED, CheckResult

REAL = Catalog("paper_checks")
EXPERIMENTS = Catalog("experiments")


def toy(results: Path, *args: str) -> int:
    return main([*args, "--results", str(results)], "toy_checks", "toy_experiments")


def walk(results: Path, preset: str) -> None:
    args = ["walk", "--preset", preset, "--results", str(results)]
    assert run_experiments(args, package="toy_experiments") == 0


# every real check


@pytest.mark.parametrize("name", REAL.names)
def test_smoke_records_decide_nothing(name, smoke):
    sources = REAL.load(name).SOURCES
    for source in sources:
        smoke.record(source)
    judged = judge(REAL, EXPERIMENTS, name, smoke.results)
    assert judged.error is None
    assert judged.result is not None
    if sources:
        assert judged.result.verdict == UNDECIDED
        assert "smoke" in judged.result.note


@pytest.mark.parametrize("name", REAL.names)
def test_absent_records_decide_nothing(name, tmp_path):
    judged = judge(REAL, EXPERIMENTS, name, tmp_path)
    assert judged.result is not None
    if REAL.load(name).SOURCES:
        assert judged.result.verdict == UNDECIDED
        assert "python -m experiments" in judged.result.note


@pytest.mark.parametrize("name", REAL.names)
def test_tracked_records_can_be_judged(name):
    judged = judge(REAL, EXPERIMENTS, name, archive.RESULTS)
    assert judged.error is None
    assert not judged.is_broken


def static_null(t2: float, spread: float = 0.0005, others: float = 0.92):
    """Return a result of the null control whose families have these R^2."""
    module = EXPERIMENTS.load("static_null")
    rng = np.random.default_rng(0)
    r_squared = np.array([[t2], [others], [others]]) + spread * rng.uniform(-1, 1, (3, 32))
    curve, count = np.ones((3, 5)), np.zeros(3, dtype=int)
    density = np.linspace(1, 0.1, 5)
    families = module.FAMILIES
    return module.Result(
        families, density, curve, curve, curve, r_squared, r_squared, count, count + 32, count
    )


@pytest.mark.parametrize(
    ("t2", "spread", "verdict"),
    [(0.992, 0.0005, REFUTED), (0.985, 0.0005, CONFIRMED), (0.9905, 0.003, UNDECIDED)],
)
def test_rule_of_r_squared_is_evidence(t2, spread, verdict):
    result = REAL.load("r_squared_is_evidence").check(static_null(t2, spread))
    assert result.verdict == verdict
    low, high = result.interval
    assert low < result.observed < high
    assert result.observed == pytest.approx(t2, abs=spread)


# the driver


def test_verdicts_need_more_than_smoke(tmp_path, capsys):
    name = "walks_end_at_zero"
    assert toy(tmp_path, name) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:2] == [name, "undecided"]
    assert "no record yet: python -m experiments walk" in out
    walk(tmp_path, "smoke")
    capsys.readouterr()
    assert toy(tmp_path, name) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:2] == [name, "undecided"]
    assert "only a smoke run of walk, which decides nothing" in out
    walk(tmp_path, "cpu")
    capsys.readouterr()
    assert toy(tmp_path, name) == 0, "a refuted claim is a result"
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:2] == [name, "refuted"]
    assert "walk/cpu" in out


def test_a_check_that_cannot_run(tmp_path, capsys):
    assert toy(tmp_path) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["our_own", "walks_end_at_zero", "wrong"]
    assert err == "python -m paper_checks: wrong: TypeError: check must return a CheckResult, got bool\n"


def test_our_own_theory_must_hold(tmp_path, monkeypatch, capsys):
    assert toy(tmp_path, "our_own") == 0
    monkeypatch.setenv("TOY_REFUTED", "1")
    capsys.readouterr()
    assert toy(tmp_path, "our_own") == 1
    assert capsys.readouterr().err == "python -m paper_checks: our_own: our own theory is refuted\n"


def test_corrupt_record(tmp_path, capsys):
    walk(tmp_path, "cpu")
    next(tmp_path.glob("walk/cpu/*.json")).write_text("{")
    capsys.readouterr()
    assert toy(tmp_path, "walks_end_at_zero") == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "must be a JSON record" in err


def test_json_and_markdown(tmp_path, capsys):
    walk(tmp_path, "cpu")
    files = tmp_path / "v.json", tmp_path / "v.md"
    capsys.readouterr()
    assert toy(tmp_path, "--json", str(files[0]), "--markdown", str(files[1])) == 1
    found = json.loads(files[0].read_text())
    assert (found["schema"], found["kind"]) == (1, "paper_checks")
    ours, walks, wrong = found["checks"]
    assert (ours["name"], ours["own_theory"], ours["verdict"]) == ("our_own", True, "confirmed")
    assert (walks["verdict"], walks["predicted"], len(walks["interval"])) == ("refuted", 0.0, 2)
    assert walks["records"][0].startswith("walk/cpu/")
    assert wrong["error"].startswith("TypeError")
    assert "verdict" not in wrong
    text = files[1].read_text()
    assert "Walks end at zero \\| always. (nowhere)" in text
    assert text.count("\n") == 5
    capsys.readouterr()
    toy(tmp_path, "our_own", "--json", "-")
    assert json.loads(capsys.readouterr().out)["checks"] == [ours]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ours_own"], "did you mean our_own?"),
        (["our_own", "--json", "/no/such/folder/v.json"], "No such file"),
    ],
)
def test_bad_input(args, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        toy(tmp_path, *args)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_verdict_is_one_of_three(tmp_path):
    result = CheckResult("a claim", "a page", 1.0, "less", None, CONFIRMED, "")
    with pytest.raises(ValueError, match="verdict must be one of confirmed, refuted, undecided, got 'maybe'"):
        replace(result, verdict="maybe")
    result = replace(result, interval=(0.5, float("inf")))
    result.save(tmp_path / "check.json")
    assert CheckResult.load(tmp_path / "check.json") == result
