import json
import os

import numpy as np
import pytest

from bbtheory import recommend
from bbtheory.solve.__main__ import main


@pytest.fixture
def answer(capsys):
    """Run the command and return (exit code, JSON or text, stderr)."""

    def run(*argv, json_form=True):
        code = main(["--recommend", *map(str, argv), *(["--json"] if json_form else [])])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if json_form else printed.out, printed.err

    return run


@pytest.fixture
def units(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text(
        "unit,on_rate,fan_in,fan_out\n" + "".join(f"{i},{0.02 * i},64,30\n" for i in range(1, 21))
    )
    return path


@pytest.fixture
def layered(tmp_path):
    path = tmp_path / "layers.csv"
    rows = [f"{layer},{a},{k}\n" for layer, k in (("b", 784), ("a", 300)) for a in (0.02, 0.1, 0.3, 0.45)]
    path.write_text("layer,on_rate,fan_in\n" + "".join(rows))
    return path


def test_one_layer(answer, units):
    code, found, err = answer("--on-rate", units, "--density", 0.3)
    assert (code, err) == (0, "")
    assert (found["schema"], found["kind"], found["max_degree"], found["batch"]) == (
        1,
        "recommendation",
        64,
        128,
    )
    a = 0.02 * np.arange(1, 21)
    expected = recommend(a, 0.3, 128, max_degree=64)
    for name in (
        "beta",
        "d0",
        "threshold",
        "interval",
        "ema_decay",
        "burn_in",
        "least_margin",
        "churn_per_step",
    ):
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-12)
    assert found["achieved"] == pytest.approx(0.3)
    assert found["meets_margin"] is True
    assert found["reasons"] == expected.reasons
    assert found["units"]["degree"] == pytest.approx(expected.degree.tolist())
    assert "maps" not in found


def test_options_reach_the_answer(answer, units):
    asked = ("--on-rate", units, "--density", 0.4)
    _, found, _ = answer(*asked, "--actuator", "sp_out", "--batch", 16, "--beta", 0.2, "--min-degree", 4)
    assert (found["actuator"], found["max_degree"], found["batch"]) == ("sp_out", 30, 16)
    assert (found["beta"], found["min_degree"]) == (0.2, 4)
    _, found, _ = answer(*asked, "--margin", 0.8, "--interval", 7, "--ema-decay", 0.93, "--max-degree", 99)
    assert (found["margin"], found["interval"], found["ema_decay"]) == (0.8, 7, 0.93)
    assert found["max_degree"] == 99
    assert found["least_margin"] >= 0.8


def test_a_gain_column_is_measured_at_the_degrees(answer, tmp_path):
    path = tmp_path / "gains.csv"
    path.write_text("on_rate,fan_in,gain\n0.1,40,0.001\n0.3,40,-0.0005\n0.2,64,0.0\n")
    _, found, _ = answer("--on-rate", path, "--density", 0.5)
    expected = recommend(
        [0.1, 0.3, 0.2], 0.5, 128, max_degree=64, gain=[0.001, -0.0005, 0.0], degree=[40.0, 40.0, 64.0]
    )
    assert found["gain_source"] == "measured"
    assert found["units"]["on_rate"] == pytest.approx(expected.on_rate.tolist())
    assert found["achieved"] == pytest.approx(0.5)
    # the loop of SP-out is open whatever the file holds
    assert answer("--on-rate", path, "--density", 0.5, "--actuator", "sp_out")[0] == 0


def test_layers_share_one_clock(answer, layered):
    _, found, _ = answer("--on-rate", layered, "--density", 0.3)
    assert found["kind"] == "recommendation"
    assert [layer["layer"] for layer in found["layers"]] == ["b", "a"]
    assert [layer["max_degree"] for layer in found["layers"]] == [784, 300]
    for layer in found["layers"]:
        assert (layer["interval"], layer["ema_decay"]) == (found["interval"], found["ema_decay"])
        assert layer["achieved"] == pytest.approx(0.3)
        assert layer["meets_margin"]
    assert found["burn_in"] == max(layer["burn_in"] for layer in found["layers"])
    apart = recommend([0.02, 0.1, 0.3, 0.45], 0.3, 128, max_degree=784)
    assert found["interval"] <= apart.interval
    assert found["ema_decay"] >= apart.ema_decay


def test_text_gives_every_knob_its_reason(answer, layered):
    text = answer("--on-rate", layered, "--density", 0.3, json_form=False)[1]
    for word in ("beta", "d0", "threshold", "interval", "ema_decay", "burn_in", "predicted", "nats/link"):
        assert text.count(word) >= 2
    assert "the stability margin" in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 100


def test_files(answer, layered, tmp_path):
    target, picture = tmp_path / "out.csv", tmp_path / "p.png"
    answer("--on-rate", layered, "--density", 0.3, "--output", target, "--plot", picture)
    rows = target.read_text().splitlines()
    assert rows[0] == "layer,on_rate,fan_in,predicted_on_rate,degree,multiplier,unit_margin,degree_stddev"
    assert len(rows) == 9
    assert [float(row.split(",")[1]) for row in rows[1:]] == [0.02, 0.1, 0.3, 0.45] * 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_missed_margins_warn(answer, units):
    # rounding in batches of one: the fixed slope is too steep for either sign of the gain
    code, found, err = answer("--on-rate", units, "--density", 0.3, "--beta", 0.02)
    assert code == 0
    assert found["meets_margin"] is False
    assert "warning: the fixed knobs leave a stability margin of" in err


BAD = [
    (["--density", 0.3], "--on-rate must be given with --recommend"),
    (["--on-rate", "0.1,0.2", "--max-degree", 9], "--density must be given with --recommend"),
    (["--on-rate", "0.1,0.2", "--density", 0.3], "--max-degree must be given: the on-rates come without"),
    (
        ["--on-rate", "0,0,0.1", "--density", 0.3, "--max-degree", 9],
        "density must be reachable by d0: between 0.666667 and 1 here, got 0.3",
    ),
    (
        ["--on-rate", "layers.csv", "--density", 0.3],
        "layer x: density must be reachable by d0: between 0.5 and 1",
    ),
    (
        ["--on-rate", "0.1,nan", "--density", 0.3, "--max-degree", 9],
        "on_rate must be numbers in [0, 1], got nan",
    ),
    (
        ["--on-rate", "0.1", "--density", 1.3, "--max-degree", 9],
        "density must be a number in (0, 1], got 1.3",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--batch", 0],
        "batch must be a number in (0, inf)",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--margin", 1],
        "margin must be a number in (0, 1)",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--interval", 0],
        "interval must be an integer in",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--interval", 1.5],
        "argument --interval: invalid",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--ema-decay", 1],
        "ema_decay must be a number",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--beta", 0],
        "beta must be a number in (0, inf)",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--actuator", "in"],
        "argument --actuator: invalid",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--d0", 1],
        "--d0 must not be given with --recommend",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--integer"],
        "--integer must not be given with",
    ),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--budget", 1],
        "--budget must not be given with",
    ),
    (["--on-rate", "no.csv", "--density", 0.3], "no.csv: No such file or directory"),
    (["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--plot", "p.bmp"], "--plot must end in"),
    (
        ["--on-rate", "0.1", "--density", 0.3, "--max-degree", 9, "--output", "no/f.csv"],
        "no/f.csv: No such file",
    ),
]


@pytest.mark.parametrize(("argv", "line"), BAD)
def test_bad_input(capsys, tmp_path, monkeypatch, argv, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.csv").write_text("layer,on_rate,fan_in\nx,0,9\nx,0.2,9\ny,0.2,9\n")
    refused(capsys, ["--recommend", *argv], line)
    assert os.listdir(tmp_path) == ["layers.csv"]


@pytest.mark.parametrize(
    "option", [["--batch", 3], ["--margin", 0.5], ["--actuator", "both"], ["--interval", 3]]
)
def test_options_of_knobs_alone(capsys, option):
    refused(capsys, ["--beta", 1, *option], f"{option[0]} must be given with --recommend only")


def refused(capsys, argv, line):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in argv])
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.splitlines()[-1].removeprefix("python -m bbtheory.solve: error: ").startswith(line)
