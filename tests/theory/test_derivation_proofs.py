"""The proofs behind the derivations: what holds is accepted, what does not is refused, all of it is printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sympy as sp

import bbtheory
from bbtheory.theory.derivations import DERIVATIONS, Proof, ProofError, derive_balance
from bbtheory.theory.derivations.__main__ import main
from bbtheory.theory.derivations.printing import WIDTH, as_latex, as_text

x, y = sp.symbols("x y", positive=True)
n, j = sp.symbols("n j", integer=True, positive=True)
f = sp.Function("f")
D = sp.Derivative


def defined():
    """A proof in which f(x) stands for x log x."""
    proof = Proof("toy", "A toy.")
    proof.define("Let", f(x), x * sp.log(x))
    return proof


def on_rate(u):
    return u / (1 + u)


# a step that holds, and a neighbour of it that does not
STEPS = {
    "equal": (
        lambda p: p.equal("", D(f(x), x), sp.log(x) + 1),
        lambda p: p.equal("", D(f(x), x), sp.log(x) - 1),
    ),
    "equal_at": (
        lambda p: p.equal("", f(x), sp.E, at={x: sp.E}),
        lambda p: p.equal("", f(x), sp.E, at={x: 2 * sp.E}),
    ),
    "equal_of_sums": (
        lambda p: p.equal("", D(sp.Sum(f(x * j), (j, 1, n)), x), sp.Sum(j * (sp.log(x * j) + 1), (j, 1, n))),
        lambda p: p.equal("", D(sp.Sum(f(x * j), (j, 1, n)), x), sp.Sum(j * sp.log(x * j), (j, 1, n))),
    ),
    "limit": (
        lambda p: p.equal("", sp.Limit(f(x), x, 0, "+"), 0),
        lambda p: p.equal("", sp.Limit(f(x), x, 0, "+"), 1),
    ),
    "root": (
        lambda p: p.root("", D(f(x), x), x, sp.exp(-1)),
        lambda p: p.root("", D(f(x), x), x, sp.exp(1)),
    ),
    "integral": (
        lambda p: p.integral("", sp.Integral(sp.log(x), (x, 0, y)), f(x) - x, f(y) - y),
        lambda p: p.integral("", sp.Integral(sp.log(x), (x, 0, y)), f(x) - x, f(y)),
    ),
    "integral_of_another_function": (
        lambda p: p.integral("", sp.Integral(sp.log(x), (x, 0, 1)), f(x) - x, -1),
        lambda p: p.integral("", sp.Integral(sp.log(x), (x, 0, 1)), f(x) - x**2, -1),
    ),
    "expands": (
        lambda p: p.expands("", sp.log(1 + y), y - y**2 / 2, y, 2),
        lambda p: p.expands("", sp.log(1 + y), y - y**2 / 3, y, 2),
    ),
    "expands_no_further": (
        lambda p: p.expands("", sp.log(1 + y), y - y**2 / 2, y, 2),
        lambda p: p.expands("", sp.log(1 + y), y - y**2 / 2, y, 3),
    ),
    "expands_of_a_definition": (
        lambda p: p.expands("", f(1 + y), y + y**2 / 2, y, 2),
        lambda p: p.expands("", f(1 + y), y, y, 2),
    ),
    "holds": (
        lambda p: p.holds("", sp.Gt(D(f(x), (x, 2)), 0)),
        lambda p: p.holds("", sp.Lt(D(f(x), (x, 2)), 0)),
    ),
    "holds_at": (
        lambda p: p.holds("", sp.Gt(D(f(x), x), 1), at={x: 1 + y}),
        lambda p: p.holds("", sp.Gt(D(f(x), x), 1)),
    ),
    "holds_not_strictly": (
        lambda p: p.holds("", sp.Ge((x - 1) ** 2, 0, evaluate=False)),
        lambda p: p.holds("", sp.Gt((x - 1) ** 2, 0, evaluate=False)),
    ),
    "holds_from": (
        lambda p: p.holds_from("", sp.Ge(x, sp.log(1 + x)), x, 0),
        lambda p: p.holds_from("", sp.Ge(x, 2 * sp.log(1 + x)), x, 0),
    ),
    "holds_from_the_start": (
        lambda p: p.holds_from("", sp.Ge(x, 1), x, 1),
        lambda p: p.holds_from("", sp.Ge(x, 2), x, 1),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_holds_is_recorded_and_one_that_does_not_is_refused(name):
    right, wrong = STEPS[name]
    proof = defined()
    right(proof)
    with pytest.raises(ProofError, match="toy"):
        wrong(proof)
    result = next(step for step in reversed(proof._steps))
    assert result.basis == "proved"


def test_what_is_only_stated_cannot_become_a_result():
    proof = Proof("toy", "A toy.")
    false = sp.Eq(x, y)
    proof.given("Say", false)
    proof.cite("They say", false)
    with pytest.raises(ProofError, match="no step proves"):
        proof.conclude(false, arguments=(y,))


def test_a_function_needs_all_its_arguments():
    proof = Proof("toy", "A toy.")
    result = proof.equal("", (x + y) ** 2, x**2 + 2 * x * y + y**2)
    with pytest.raises(ProofError, match="depends on"):
        proof.conclude(result, arguments=(x,))
    assert proof.conclude(result, arguments=(x, y)).function(1.0, 2.0) == 9.0


def test_a_domain_is_used_and_nothing_beyond_it():
    inside = Proof("toy", "A toy.", domain={x: on_rate(sp.Symbol("u", positive=True))})
    claim = sp.Gt(1 - x, 0)
    inside.holds("An on-rate is below 1.", claim)
    with pytest.raises(ProofError):
        Proof("toy", "A toy.").holds("A positive number need not be.", claim)


@pytest.mark.parametrize("name", ["balance", "traffic_slope", "flux_exponent"])
def test_a_wrong_definition_breaks_a_real_derivation(name, monkeypatch):
    """The steps of a law hold because of the model: with another model they are refused."""
    define, seen = Proof.define, []

    def wrong(self, text, what, meaning):
        seen.append(what)
        first = len(seen) == 1
        define(self, text, what, meaning * (1 + x / 7) if first else meaning)

    monkeypatch.setattr(Proof, "define", wrong)
    with pytest.raises(ProofError):
        DERIVATIONS[name].__wrapped__()


@pytest.mark.parametrize("name", DERIVATIONS)
def test_text_shows_every_step_within_the_width(name):
    derivation = DERIVATIONS[name]()
    text = as_text(derivation)
    assert str(derivation) == text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(re.findall(r"^ *\d+\. ", text, re.MULTILINE)) == len(derivation.steps)
    assert "`" not in text
    assert f"derive_{name}" in text


def test_latex_is_a_balanced_document():
    document = as_latex(build() for build in DERIVATIONS.values())
    assert document.isascii()
    body = re.sub(r"\\\\|\\[{}$]", "", document)  # line breaks, and what is escaped
    depth = 0
    for character in body:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert body.count("$") % 2 == 0
    assert body.count(r"\[") == body.count(r"\]")
    assert body.count(r"\left") == body.count(r"\right")
    opened = []
    for what, environment in re.findall(r"\\(begin|end)\{(\w+\*?)\}", document):
        if what == "begin":
            opened.append(environment)
        else:
            assert opened.pop() == environment
    assert not opened
    steps = sum(len(build().steps) for build in DERIVATIONS.values())
    assert document.count(r"\basis{") == steps + 1  # and once in the preface
    assert document.count(r"\section{") == len(DERIVATIONS)
    prose = re.sub(r"\$[^$]*\$|\\\[.*?\\\]|\\(\w+|.)", "", body.split(r"\tableofcontents")[1])
    assert not set("_^&#%~`") & set(prose)


def test_command_line_prints_what_is_asked_for(capsys):
    assert main(["maximum_traffic", "derive_balance"]) == 0
    out = capsys.readouterr().out
    assert out.index("derive_maximum_traffic\n=") < out.index("derive_balance\n=")
    assert "derive_concavity\n=" not in out
    assert str(derive_balance()) in out
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line for line in listed if not line.startswith(" ")] == list(DERIVATIONS)


def test_command_line_refuses_an_unknown_name(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["balance", "nonsense"])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nonsense" in printed.err
    assert all(name in printed.err for name in DERIVATIONS)


def test_command_line_writes_a_document(tmp_path, capsys):
    path = tmp_path / "balance.tex"
    path.write_text("old")
    assert main(["balance", "--latex", str(path)]) == 0
    assert path.read_text() == as_latex([derive_balance()])
    assert capsys.readouterr().out == ""
    missing = tmp_path / "missing" / "balance.tex"
    with pytest.raises(SystemExit) as stopped:
        main(["balance", "--latex", str(missing)])
    assert stopped.value.code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["balance.tex"]


def test_command_line_reports_a_step_that_fails(monkeypatch, capsys):
    def broken():
        raise ProofError("toy: cannot confirm it")

    monkeypatch.setitem(DERIVATIONS, "balance", broken)
    assert main(["balance"]) == 1
    assert "cannot confirm" in capsys.readouterr().err


def test_every_derivation_that_a_docstring_names_exists():
    root = Path(bbtheory.__file__).parent
    named = {
        name
        for path in root.rglob("*.py")
        for name in re.findall(r"[`]derive_(\w+)[`]", path.read_text(encoding="utf-8"))
    }
    assert "balance" in named
    assert named <= set(DERIVATIONS)


def test_sympy_is_loaded_by_the_derivations_alone():
    code = "import sys, bbtheory, bbtheory.theory, bbtheory.theory.flux; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
