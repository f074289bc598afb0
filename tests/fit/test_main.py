import io
import json
import subprocess
import sys

import numpy as np
import pytest

from bbtheory import fit_balance, fit_power_law
from bbtheory.fit import examples
from bbtheory.fit.__main__ import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return examples.write_examples(str(tmp_path_factory.mktemp("example")))


@pytest.fixture
def answer(capsys):
    """Run the command and return (exit code, stdout, stderr)."""

    def run(*argv):
        code = main([str(a) for a in argv])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refusal(capsys):
    """Run a command that must refuse its input, and return the last line it prints."""

    def run(*argv):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in argv])
        printed = capsys.readouterr()
        assert (stop.value.code, printed.out) == (2, "")
        assert "Traceback" not in printed.err
        return printed.err.splitlines()[-1]

    return run


def write(path, header, *columns):
    rows = [header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_examples_are_what_they_say(files, answer):
    code, out, _ = answer("pruning-law", files[0], "--json")
    assert code == 0
    law = json.loads(out)
    assert law["verdict"] == "power_law"
    for name, truth in (("exponent", examples.EXPONENT), ("prefactor", examples.PREFACTOR)):
        low, high = law["window"][f"{name}_interval"]
        assert low <= truth <= high
    middle, outer = law["segments"]["exponents"][1], law["segments"]["exponents"][::2]
    assert middle == pytest.approx(examples.EXPONENT, abs=0.02)
    np.testing.assert_allclose(outer, examples.OUTER_EXPONENTS, atol=0.05)
    for (low, high), truth in zip(law["segments"]["break_intervals"], examples.BREAKS, strict=True):
        assert 0.95 * low <= truth <= 1.05 * high
    code, out, _ = answer("balance", files[1], "--json")
    line, curved = json.loads(out)["groups"]
    assert (line["verdict"], curved["verdict"]) == ("balanced", "hyperbolic")
    assert line["slope_interval"][0] <= examples.BETA <= line["slope_interval"][1]
    assert line["intercept_interval"][0] <= -examples.BETA * examples.D0 <= line["intercept_interval"][1]
    assert line["n_dead"] == 3
    assert curved["tau_interval"][0] <= examples.TAU <= curved["tau_interval"][1]


def test_example_option_writes_both_and_says_what_is_true(tmp_path, answer):
    code, out, _ = answer("--example", tmp_path / "new" / "folder")
    assert code == 0
    curve, units = tmp_path / "new" / "folder" / "curve.csv", tmp_path / "new" / "folder" / "units.csv"
    assert curve.exists()
    assert units.exists()
    for shown in (f"exponent {examples.EXPONENT}", f"beta {examples.BETA}", "3 dead", f"pruning-law {curve}"):
        assert shown in out


def test_json_is_the_record(files, answer):
    table = np.genfromtxt(files[0], delimiter=",", names=True)
    expected = fit_power_law(table["Saliency"], table["Remaining"] / 100, accuracy=table["Accuracy"])
    assert json.loads(answer("pruning-law", files[0], "--json")[1]) == json.loads(expected.to_json())
    units = np.genfromtxt(files[1], delimiter=",", names=True)
    group = units["layer"].astype(int)
    balance = fit_balance(units["on_rate"], units["fan_out"], group=group)
    assert json.loads(answer("balance", files[1], "--json")[1]) == json.loads(balance.to_json())


def test_tables_for_people(files, answer):
    _, out, _ = answer("pruning-law", files[0])
    assert "exponent" in out
    assert "HAC standard error" in out
    assert out.splitlines()[-1].startswith("verdict: power_law: ")
    _, out, _ = answer("balance", files[1])
    assert "nats per link" in out
    assert out.splitlines()[-1].startswith("verdict 2: hyperbolic: ")


def test_parts_that_are_missing_are_said(tmp_path, answer):
    path = write(tmp_path / "c.csv", "Saliency,Remaining", range(1, 6), [40, 30, 20, 10, 5])
    _, out, _ = answer("pruning-law", path)
    assert "three segments need 9" in out
    path = write(tmp_path / "u.csv", "on_rate,fan_out", [0.1, 0.2, 0], [3, 4, 5])
    _, out, _ = answer("balance", path)
    assert "verdict all: undecided: 2 usable units, a line needs 5" in out


@pytest.mark.parametrize(
    ("scale", "option", "n"), [(100, None, 9), (1, None, 9), (100, "--percent", 9), (1, "--fraction", 9)]
)
def test_percent_and_fraction(tmp_path, answer, scale, option, n):
    density = np.geomspace(0.9, 0.01, 12)
    path = write(tmp_path / "c.csv", "Saliency,Remaining", range(1, 13), scale * density)
    _, out, _ = answer("pruning-law", path, "--json", *([option] if option else []))
    found = json.loads(out)
    assert found["window"]["n"] == np.count_nonzero((density > 0.005) & (density <= 0.5))
    assert found["segments"]["break_densities"][0] <= 1


def test_the_largest_value_tells_percent(tmp_path, answer):
    for top, factor in ((1.5, 0.01), (1.0, 1.0), (0.51, 1.0)):
        density = np.geomspace(top, top / 50, 12)
        path = write(tmp_path / "c.csv", "Saliency,Remaining", range(1, 13), density)
        _, out, _ = answer("pruning-law", path, "--json", "--window", 0, 1)
        expected = fit_power_law(np.arange(1, 13), density * factor, window=(0, 1)).window.prefactor
        assert json.loads(out)["window"]["prefactor"] == pytest.approx(expected)


@pytest.mark.parametrize(("option", "scale"), [("--percent", 0.01), ("--fraction", 1.0)])
def test_small_values_need_their_unit(tmp_path, answer, refusal, option, scale):
    density = np.geomspace(0.5, 0.01, 12)
    path = write(tmp_path / "c.csv", "Saliency,Remaining", range(1, 13), density)
    expected = "is at most 0.5, which may be percent or a fraction; say --percent or --fraction"
    assert expected in refusal("pruning-law", path)
    _, out, _ = answer("pruning-law", path, "--json", option, "--window", 0, 1)
    assert json.loads(out)["window"]["n"] == 12
    prefactor = fit_power_law(np.arange(1, 13), density * scale, window=(0, 1)).window.prefactor
    assert json.loads(out)["window"]["prefactor"] == pytest.approx(prefactor)


def test_columns_by_name(tmp_path, answer):
    density = np.geomspace(0.9, 0.01, 12)
    path = write(tmp_path / "c.csv", "gamma,KEPT,accuracy", range(1, 13), density, [90] * 12)
    _, out, _ = answer("pruning-law", path, "--saliency", "gamma", "--remaining", "kept", "--json")
    assert json.loads(out)["n_collapsed"] == 0
    a = np.linspace(0.1, 0.5, 12)
    path = write(
        tmp_path / "u.csv", "Block,on_rate,fan_in,fan_out", "ababababab" + "ab", a, range(12), [3] * 12
    )
    _, out, _ = answer("balance", path, "--group", "block", "--degree", "fan_in", "--json")
    found = json.loads(out)
    assert [g["group"] for g in found["groups"]] == ["a", "b"]
    assert found["degree_kind"] == "fan_in"
    _, out, _ = answer("balance", path, "--degree", "fan_in", "--min-degree", 2, "--max-degree", 10, "--json")
    (group,) = json.loads(out)["groups"]
    assert (group["n_used"], group["n_clipped"]) == (7, 5)


def test_standard_input(files, answer, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(files[0].read_text()))
    assert answer("pruning-law", "-")[0] == 0


@pytest.mark.filterwarnings("default")
def test_collapse_is_one_line_on_stderr(tmp_path, answer):
    density = np.geomspace(0.9, 0.01, 12)
    path = write(
        tmp_path / "c.csv", "Saliency,Remaining,Accuracy", range(1, 13), density, [90] * 9 + [10] * 3
    )
    _, out, err = answer("pruning-law", path)
    (line,) = err.splitlines()
    assert line.startswith("warning: 3 of ")
    assert "3 of 10 points come from collapsed networks" in out


@pytest.mark.parametrize(
    ("what", "ending"), [("pruning-law", "png"), ("pruning-law", "pdf"), ("balance", "svg")]
)
def test_plots(tmp_path, files, answer, what, ending):
    picture = tmp_path / f"p.{ending}"
    file = files[what == "balance"]
    assert answer(what, file, "--plot", picture)[0] == 0
    first = picture.read_bytes()
    assert len(first) > 5000
    answer(what, file, "--plot", picture)
    assert picture.read_bytes() == first
    assert list(tmp_path.iterdir()) == [picture]


def test_plots_of_what_could_not_be_fitted(tmp_path, answer):
    curve = write(tmp_path / "c.csv", "Saliency,Remaining", range(1, 6), [40, 30, 20, 10, 5])
    outside = write(tmp_path / "o.csv", "Saliency,Remaining", range(1, 13), range(99, 87, -1))
    units = write(
        tmp_path / "u.csv", "layer,on_rate,fan_out", "aabcdef", [0.1, 0.2, 0, 1, 0.3, 1, 0], range(7)
    )
    for what, file in (("pruning-law", curve), ("pruning-law", outside), ("balance", units)):
        assert answer(what, file, "--plot", tmp_path / "p.png")[0] == 0


BAD_CURVES = {
    "empty": ("", "must have a header line with column names, got an empty file"),
    "header only": ("Saliency,Remaining\n", "must have at least one row below its header"),
    "words": ("Saliency,Remaining\n1,90\n2,many\n", "line 3: Remaining must be a number, got 'many'"),
    "blank": ("Saliency,Remaining\n1,90\n,80\n", "line 3: Saliency must be a number, got ''"),
    "nan": (
        "Saliency,Remaining\n1,90\nnan,80\n",
        "line 3: Saliency must be finite and at least 0, got 'nan'",
    ),
    "inf": (
        "Saliency,Remaining\n1,90\ninf,80\n",
        "line 3: Saliency must be finite and at least 0, got 'inf'",
    ),
    "huge": ("Saliency,Remaining\n1,90\n1e999,80\n", "line 3: Saliency must be finite and at least 0"),
    "negative": ("Saliency,Remaining\n-1,90\n", "line 2: Saliency must be finite and at least 0, got '-1'"),
    "over": ("Saliency,Remaining\n1,101\n", "line 2: Remaining must be in [0, 100], got '101'"),
    "ragged": ("Saliency,Remaining\n1,90,3\n", "line 2: must have 2 cells as the header has, got 3"),
    "column": ("gamma,kept\n1,90\n", "has no column 'Saliency'; its columns are gamma, kept"),
    "twice": ("Saliency,Saliency\n1,90\n", "must name each column once, got 'Saliency' twice"),
    "few": (
        "Saliency,Remaining\n1,90\n2,80\n",
        "at least 4 usable points inside the window or 9 in all, got 0",
    ),
}


@pytest.mark.parametrize("name", BAD_CURVES)
def test_bad_curves(tmp_path, refusal, name):
    text, expected = BAD_CURVES[name]
    path = tmp_path / "c.csv"
    path.write_text(text)
    assert expected in refusal("pruning-law", path)


BAD_UNITS = {
    "empty": ("", "must have a header line"),
    "column": ("layer,unit\n1,2\n", "has no column 'on_rate'; its columns are layer, unit"),
    "degree": ("on_rate,fan_in\n0.1,2\n", "has no column 'fan_out'; its columns are on_rate, fan_in"),
    "on_rate": ("on_rate,fan_out\n0.1,2\n1.5,2\n", "line 3: on_rate must be in [0, 1], got '1.5'"),
    "fan_out": ("on_rate,fan_out\n0.1,-2\n", "line 2: fan_out must be finite and at least 0, got '-2'"),
    "nan": ("on_rate,fan_out\nnan,2\n", "line 2: on_rate must be in [0, 1], got 'nan'"),
    "words": ("on_rate,fan_out\n0.1,many\n", "line 2: fan_out must be a number, got 'many'"),
}


@pytest.mark.parametrize("name", BAD_UNITS)
def test_bad_units(tmp_path, refusal, name):
    text, expected = BAD_UNITS[name]
    path = tmp_path / "u.csv"
    path.write_text(text)
    assert expected in refusal("balance", path)


def test_bad_options(tmp_path, files, refusal):
    curve, units = files
    cases = [
        ((), "give either pruning-law or balance with a file, or --example DIR"),
        (("--example", tmp_path, "balance", units), "give either"),
        (("pruning-law",), "the following arguments are required: FILE.csv"),
        (("pruning-law", curve, "--percent", "--fraction"), "not allowed with argument"),
        (("pruning-law", curve, "--fraction"), "Remaining must be in [0, 1], got"),
        (("pruning-law", curve, "--window", "0.5", "50"), "window high must be a number in [0, 1], got 50.0"),
        (("pruning-law", curve, "--window", "0.5", "0.1"), "window must have low < high"),
        (("pruning-law", curve, "--window", "a", "b"), "invalid float value: 'a'"),
        (("pruning-law", curve, "--plot", "x.jpeg"), "--plot must end in .png, .pdf, .svg, got 'x.jpeg'"),
        (("balance", units, "--group", "block"), "has no column 'block'; its columns are layer, unit"),
        (("balance", units, "--degree", "links"), "invalid choice: 'links'"),
        (("balance", units, "--min-degree", "-1"), "min_degree must be a number in [0, inf), got -1.0"),
        (
            ("balance", units, "--min-degree", "9", "--max-degree", "3"),
            "max_degree must be above min_degree 9",
        ),
    ]
    for argv, expected in cases:
        assert expected in refusal(*argv)


def test_files_that_cannot_be_read(tmp_path, refusal):
    assert "nothere.csv: No such file or directory" in refusal("balance", tmp_path / "nothere.csv")
    assert "Is a directory" in refusal("pruning-law", tmp_path)
    noise = tmp_path / "noise.csv"
    noise.write_bytes(np.random.default_rng(0).bytes(10_000_000))
    for what in ("pruning-law", "balance"):
        assert "noise.csv must be a text file in UTF-8, got other bytes" in refusal(what, noise)


def test_outputs_that_cannot_be_written(tmp_path, files, refusal):
    assert "No such file or directory" in refusal(
        "pruning-law", files[0], "--plot", tmp_path / "no" / "p.png"
    )
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert "exists" in refusal("--example", taken)
    assert "Not a directory" in refusal("balance", files[1], "--plot", taken / "p.png")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    assert taken.read_text() == "mine"


def test_a_failed_plot_leaves_the_old_one(tmp_path, files, refusal):
    picture = tmp_path / "p.png"
    picture.write_text("old")
    bad = tmp_path / "bad.csv"
    bad.write_text("Saliency,Remaining\n1,nan\n")
    refusal("pruning-law", bad, "--plot", picture)
    assert picture.read_text() == "old"


def test_only_what_a_call_needs_is_imported(files):
    curve, units = map(str, files)
    code = (
        "import sys\nfrom bbtheory.fit.__main__ import main\n"
        f"for argv in (['balance', {units!r}], ['pruning-law', {curve!r}]):\n"
        "    main(argv)\n    print(*{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    balance, law = [set(line.split()) for line in done.stdout.splitlines() if "numpy" in line]
    assert not {"torch", "pandas", "matplotlib", "sympy", "numba"} & balance
    assert not {"torch", "pandas", "matplotlib", "sympy"} & law
