import subprocess
import sys
import warnings

import pytest

from bbtheory import cli
from bbtheory.records import ConvergenceError
from bbtheory.theory.equilibrium import Residuals


def run(body, argv=()):
    parser = cli.make_parser("prog", "does", ["prog --one", "prog --two"])
    return cli.run(parser, body, list(argv))


def raising(error):
    def body(args):
        raise error

    return body


def test_answers_pass_through(capsys):
    assert run(lambda args: print("out") or 0) == 0
    assert capsys.readouterr().out == "out\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("x must be\ngood"), "prog: error: x must be good"),
        (FileNotFoundError(2, "No such file", "f.csv"), "prog: error: f.csv: No such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, error, line):
    with pytest.raises(SystemExit) as stop:
        run(raising(error))
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1] == line
    assert "Traceback" not in printed.err


def test_not_converged_is_exit_1(capsys):
    assert run(raising(ConvergenceError("late", Residuals(1.0, 1.0)))) == 1
    assert capsys.readouterr().err == "prog: not converged: late\n"


def test_interrupt_is_exit_130(capsys):
    assert run(raising(KeyboardInterrupt())) == 130


@pytest.mark.parametrize("depth", [1, 2])
def test_an_interrupt_that_an_error_hides_is_exit_130(capsys, depth):
    def body(args, left=depth):
        try:
            if left == 0:
                raise KeyboardInterrupt
            body(args, left - 1)
        finally:
            raise ValueError("an archive must be whole to be closed")

    assert run(body) == 130
    assert capsys.readouterr().err == "prog: interrupted\n"


def test_warnings_are_one_line_on_stderr(capsys):
    def body(args):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("true but\nsurprising", stacklevel=1)
        return 0

    assert run(body) == 0
    assert capsys.readouterr().err == "warning: true but surprising\n"


def test_programming_errors_stay_loud():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_help_has_examples_and_version(capsys):
    for flag, text in (("--help", "prog --two"), ("--version", "bbtheory ")):
        with pytest.raises(SystemExit) as stop:
            run(lambda args: 0, [flag])
        assert stop.value.code == 0
        assert text in capsys.readouterr().out


HEAVY = ("scipy", "numba", "torch", "pandas", "matplotlib", "sympy", "sklearn")


@pytest.mark.parametrize(
    "run_it", ["import bbtheory", "from bbtheory.solve.__main__ import main; main(['--beta', '0.5'])"]
)
def test_a_light_job_loads_numpy_at_most(run_it):
    code = f"import sys; {run_it}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
