import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest

from bbtheory import provenance
from bbtheory.records import Record
from bbtheory.storage import atomic


@dataclasses.dataclass(frozen=True, eq=False)
class Inner(Record):
    KIND: ClassVar[str] = "inner"
    x: float
    y: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Outer(Record):
    KIND: ClassVar[str] = "outer"
    UNITS: ClassVar[Mapping[str, str]] = {"a": "a", "twice": "doubled"}
    DERIVED: ClassVar[tuple[str, ...]] = ("total",)
    HIDDEN: ClassVar[tuple[str, ...]] = ("secret",)
    a: np.ndarray
    big: np.ndarray
    flags: np.ndarray
    names: np.ndarray
    inner: Inner
    parts: tuple[Inner, ...]
    interval: tuple[float, float]
    note: str | None
    missing: Inner | None
    table: dict[str, float]
    secret: int

    @property
    def doubled(self):
        return 2 * self.a

    @property
    def total(self):
        return float(self.a.sum())


def make() -> Outer:
    return Outer(
        a=np.array([1, 2, 3]),
        big=np.arange(300.0).reshape(3, 100) / 7,
        flags=np.array([True, False]),
        names=np.array(["x", "longer"]),
        inner=Inner(math.nan, np.array([1.0, np.nan, np.inf])),
        parts=(Inner(1 / 3, np.zeros((0,))), Inner(-math.inf, np.ones((2, 1)))),
        interval=(0.1, math.inf),
        note=None,
        missing=None,
        table={"p": 0.1},
        secret=7,
    )


def test_round_trip_is_bit_for_bit(tmp_path):
    record = make()
    record.save(tmp_path / "r.json")
    again = Outer.load(tmp_path / "r.json")
    assert again == record
    assert again.big.dtype == record.big.dtype
    assert again.interval == (0.1, math.inf)
    assert again.parts[0].y.shape == (0,)


@pytest.mark.parametrize(
    "change",
    [
        {"a": np.array([1, 2, 4])},
        {"a": np.array([1.0, 2.0, 3.0])},
        {"secret": 8},
        {"interval": (0.1, 1.0)},
        {"inner": Inner(0.0, np.zeros(1))},
    ],
)
def test_equality_sees_every_field(change):
    assert make() == make()
    assert make() != dataclasses.replace(make(), **change)
    assert make() != "something else"


def test_records_are_frozen():
    record = make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.secret = 1  # that it is refused is the test
    with pytest.raises(ValueError, match="read-only"):
        record.a[0] = 5


def test_freezing_leaves_the_callers_array_alone():
    mine = np.zeros(3)
    Inner(0.0, mine)
    mine[0] = 1.0


def test_json_form_has_units_derived_values_and_null():
    public = json.loads(make().to_json())
    assert (public["schema"], public["kind"]) == (1, "outer")
    assert public["units"] == {"a": [1, 2, 3], "twice": [2, 4, 6]}
    assert public["total"] == 6.0
    assert "secret" not in public
    assert public["inner"] == {"x": None, "y": [1.0, None, None]}
    assert public["interval"] == [0.1, None]
    assert "NaN" not in make().to_json()


def test_frame_has_a_row_per_unit_or_one_row():
    frame = make().to_frame()
    assert list(frame.columns) == ["a", "twice"]
    assert len(frame) == 3
    assert Inner(2.0, np.zeros(2)).to_frame()["x"].tolist() == [2.0]


def test_text_is_short():
    assert len(str(make()).splitlines()) <= 20


def test_load_refuses_other_files(tmp_path):
    path = tmp_path / "r.json"
    Inner(1.0, np.zeros(1)).save(path)
    with pytest.raises(ValueError, match="kind 'outer'"):
        Outer.load(path)
    for text in ("not json", "[]", b"\xff\xfe".decode("latin-1")):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match="must be a JSON record"):
            Inner.load(path)
    path.write_text(json.dumps({"schema": 1, "kind": "inner", "fields": {"x": 1.0}}))
    with pytest.raises(ValueError, match="must hold the fields x, y"):
        Inner.load(path)


def test_pickles_are_never_loaded(tmp_path):
    Inner(1.0, np.arange(100.0)).save(tmp_path / "r.json")
    evil = np.array([{"x": 1}], dtype=object)
    np.savez(tmp_path / "r.npz", y=evil, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Inner.load(tmp_path / "r.json")


def test_objects_are_never_stored(tmp_path):
    with pytest.raises(ValueError, match="dtype object"):
        Inner(1.0, np.array([{}], dtype=object)).save(tmp_path / "r.json")


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")

    def fail():
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f.txt"]


def test_a_failed_write_names_the_file_asked_for(tmp_path):
    missing = tmp_path / "no" / "f.txt"
    with pytest.raises(OSError, match=str(missing)), atomic(missing) as temporary:
        temporary.write_text("x")


@dataclasses.dataclass(frozen=True)
class Config:
    n: int = 10
    rates: tuple[float, ...] = (0.1, 0.2)
    seeds: tuple[int, ...] = (0, 1)


def test_hash_ignores_seeds_and_defaults_and_nothing_else():
    assert provenance.canonical(Config()) == "{}"
    assert provenance.config_hash(Config()) == provenance.config_hash(Config(seeds=(5,)))
    assert provenance.config_hash(Config()) != provenance.config_hash(Config(n=11))
    assert provenance.config_hash(Config(rates=(0.1,))) != provenance.config_hash(Config())
    assert len(provenance.config_hash(Config())) == 12


def test_provenance_names_commit_versions_and_seeds(monkeypatch):
    monkeypatch.setenv("BBTHEORY_COMMIT", "abc")
    found = provenance.provenance(Config(n=3), device="cpu")
    assert found["commit"] == "abc"
    assert found["seeds"] == [0, 1]
    assert found["config"]["n"] == 3
    assert found["device"] == "cpu"
    assert found["versions"]["numpy"] == np.__version__
    json.dumps(found)
