"""Discovery: one file is one item, and nothing is imported that was not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bbtheory.catalog import Catalog, imported_modules

TOYS = Catalog("toy_experiments")


def test_names_are_the_public_files():
    # _helper.py and protocol.py raise when imported
    assert TOYS.names == ("broken", "lump", "peerless", "walk")


def test_listing_imports_nothing():
    code = (
        "import sys; from bbtheory.catalog import Catalog; c = Catalog('experiments'); "
        "[(c.summary(n), c.defined(n)) for n in c.names]; "
        "print([m for m in sys.modules if m.startswith('experiments.') or m in ('numpy', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_summary_and_definitions():
    assert TOYS.summary("walk") == "Does a random walk that was cut off go on where it was?"
    assert {"Config", "SMOKE", "CPU", "Result", "Cell", "run", "cells", "collect"} <= TOYS.defined("walk")
    assert {"SMOKE", "CPU"} <= TOYS.defined("lump")
    assert "cells" not in TOYS.defined("lump")


def test_load_gives_the_module():
    assert TOYS.load("walk").SMOKE.seeds == (0, 1)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (["walk"], ["walk"]),
        (["walk", "lump", "walk"], ["walk", "lump"]),
        (["walk", "all"], ["broken", "lump", "peerless", "walk"]),
        ([], []),
    ],
)
def test_choose(asked, chosen):
    assert TOYS.choose(asked) == chosen


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "wakl",
            ["unknown name 'wakl' in toy_experiments", "did you mean walk?", "broken, lump, peerless, walk"],
        ),
        ("zzzzzz", ["unknown name 'zzzzzz'", "there are: broken, lump, peerless, walk"]),
        ("_helper", ["unknown name '_helper'"]),
        ("protocol", ["unknown name 'protocol'"]),
        ("../conftest", ["unknown name '../conftest'"]),
    ],
)
def test_unknown_name(name, words):
    for ask in (TOYS.load, TOYS.path, TOYS.summary, TOYS.defined, lambda n: TOYS.choose([n])):
        with pytest.raises(ValueError, match="unknown name") as caught:
            ask(name)
        assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("package", ["no_such_package", "json.decoder"])
def test_no_such_folder(package):
    with pytest.raises(ValueError, match="package must be a folder of modules"):
        Catalog(package)


def test_a_file_that_is_no_python(tmp_path, monkeypatch):
    (tmp_path / "scribbles").mkdir()
    (tmp_path / "scribbles" / "__init__.py").touch()
    (tmp_path / "scribbles" / "note.py").write_text("not quite python")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="must be Python source"):
        Catalog("scribbles").summary("note")


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import a.b, c", "", {"a.b", "c"}),
        ("from a import b, c as d", "", {"a.b", "a.c"}),
        ("def f():\n    import late", "", {"late"}),
        ("from . import x", "p.q", {"p.q.x"}),
        ("from .m import x", "p.q", {"p.q.m.x"}),
        ("from ..m import x", "p.q", {"p.m.x"}),
        ("import_me = 'import no'", "", set()),
    ],
)
def test_imported_modules(source, package, expected):
    assert imported_modules(source, package) == expected
