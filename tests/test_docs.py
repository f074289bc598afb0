"""The README and the pages: their examples run, what is generated into them is current, the site builds offline."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest

import chromium
from bbtheory import archive
from bbtheory.catalog import Catalog
from bbtheory.fit.__main__ import main as fit
from bbtheory.solve.__main__ import main as solve
from bbtheory.theory.derivations.__main__ import main as derive
from docs import __main__ as refresh
from docs import _gallery, _verdicts
from docs._gallery import FOLDER, GALLERY, draw
from experiments._driver import main as run_experiments
from figures._driver import main as draw_figures
from paper_checks import _driver
from paper_checks._driver import Judged
from paper_checks._driver import main as judge
from paper_checks.pressure_sets_density_on_lenet import DENSITIES
from paper_checks.protocol import CheckResult

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
COMMANDS = {"bbtheory.solve": solve, "bbtheory.fit": fit, "bbtheory.theory.derivations": derive}
BY_HAND = ("--chunked",)  # the reader brings the file


def run_page(path: Path) -> tuple[int, int]:
    """Run a page as a reader would, block by block in one folder; return how many blocks and commands ran."""
    names: dict[str, object] = {}
    blocks = commands = 0
    for kind, text in BLOCK.findall(path.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, f"{path.name}, block {blocks + 1}", "exec"), names)
            blocks += 1
        for command, argv in re.findall(r"^python -m ([\w.]+) (.*)$", text if not kind else "", re.MULTILINE):
            if command in COMMANDS and not any(flag in argv for flag in BY_HAND):
                assert COMMANDS[command](argv.partition("#")[0].split()) == 0, argv
                commands += 1
    return blocks, commands


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda path: path.stem)
def test_a_page_runs_as_it_stands(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks, commands = run_page(page)
    text = page.read_text(encoding="utf-8")
    assert blocks == len(re.findall(r"^```python$", text, re.MULTILINE))
    if page == README:
        assert blocks >= 2
        assert commands >= 7
        made = {path.name for path in tmp_path.iterdir()}
        assert made >= {"balance.png", "curve.png", "units.png", "degrees.csv", "trained.csv"}
    capsys.readouterr()


def test_a_broken_example_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nassert 1 == 2\n```\n")
    with pytest.raises(AssertionError):
        run_page(page)
    page.write_text("```\npython -m bbtheory.solve --beta -1\n```\n")
    with pytest.raises(SystemExit):
        run_page(page)


def titled(page: Path) -> dict[str, str]:
    """Return the whole files that a page shows, by the name it gives them."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    return {found[1]: text for kind, text in blocks if (found := re.search(r'title="(.*?)"', kind))}


def test_the_worked_example_is_an_experiment_a_figure_and_a_check(tmp_path, monkeypatch, capsys):
    files = titled(ROOT / "docs" / "extend.md")
    assert set(files) == {
        "experiments/noisy_degrees.py",
        "figures/noisy_degrees.py",
        "paper_checks/noisy_degrees_stay_near.py",
    }
    packages = {}
    for name, text in files.items():
        folder, file = name.split("/")
        packages[folder] = f"documented_{folder}"
        path = tmp_path / packages[folder] / file
        path.parent.mkdir()
        (path.parent / "__init__.py").write_text("")
        path.write_text(text, encoding="utf-8")
    assert (
        titled(README).get("experiments/noisy_degrees.py", files["experiments/noisy_degrees.py"])
        == files["experiments/noisy_degrees.py"]
    )
    monkeypatch.syspath_prepend(tmp_path)
    results = ["--results", str(tmp_path / "results")]
    assert run_experiments(["noisy_degrees", *results], package=packages["experiments"]) == 0
    others = (packages["experiments"],)
    drawn = ["noisy_degrees", "--jobs", "1", "--out", str(tmp_path / "pictures"), *results]
    assert draw_figures(drawn, packages["figures"], *others) == 0
    assert (tmp_path / "pictures" / "noisy_degrees.svg").stat().st_size > 1000
    capsys.readouterr()
    assert judge(["noisy_degrees_stay_near", *results], packages["paper_checks"], *others) == 0
    assert "confirmed" in capsys.readouterr().out


# what is generated


def test_the_readme_is_current():
    text = README.read_text(encoding="utf-8")
    assert refresh.filled(text, refresh.generated()) == text, "python -m docs makes it anew"


@pytest.mark.parametrize("shown", GALLERY, ids=lambda shown: shown.name)
def test_the_gallery_is_what_the_records_draw(shown, tmp_path):
    kept = (FOLDER / f"{shown.name}.svg").read_bytes()
    made_with = re.search(rb"Matplotlib v([\w.]+)", kept)
    assert made_with is not None
    if made_with[1].decode() != matplotlib.__version__:
        pytest.skip(f"drawn with Matplotlib {made_with[1].decode()}, whose letters are not those of this one")
    assert draw(shown.name, tmp_path) == kept, "python -m docs draws it anew"


def test_the_gallery_holds_nothing_else_and_stays_small():
    pictures = list(FOLDER.iterdir())
    assert {path.name for path in pictures} == {f"{shown.name}.svg" for shown in GALLERY}
    assert sum(path.stat().st_size for path in pictures) < 1.5e6


def test_stale_parts_are_found(tmp_path, monkeypatch, capsys):
    parts = {"gallery": "a picture", "verdicts": "a table"}
    page = "# x\n" + "".join(f"<!-- {n}: python -m docs -->\nold\n<!-- end of {n} -->\n" for n in parts)
    page = refresh.filled(page, parts)
    assert page.count("a picture") == page.count("a table") == 1
    assert "old" not in page
    assert refresh.filled(page, parts) == page
    with pytest.raises(ValueError, match=r"README\.md must have the lines"):
        refresh.filled("# x\n", parts)

    readme, folder = tmp_path / "README.md", tmp_path / "docs" / "gallery"
    folder.mkdir(parents=True)
    readme.write_text(page)
    (folder / "gone.svg").write_text("<svg/>")
    for name, value in {
        "README": readme,
        "FOLDER": folder,
        "GALLERY": GALLERY[:1],
        "draw": lambda name, out: b"<svg>new</svg>",
        "generated": lambda: parts | {"verdicts": "another table"},
    }.items():
        monkeypatch.setattr(refresh, name, value)
    name = GALLERY[0].name
    assert refresh.main(["--check"]) == 1
    assert capsys.readouterr().out.count("is stale") == 3
    assert readme.read_text() == page
    assert refresh.main([]) == 0
    assert capsys.readouterr().out.count("written") == 3
    assert [path.name for path in folder.iterdir()] == [f"{name}.svg"]
    assert refresh.main(["--check"]) == 0


def test_one_caption_tells_one_n(monkeypatch):
    assert _gallery.n_seeds("tail_gains") == 5
    seeds = iter(range(1, 10))
    found = SimpleNamespace(best=lambda *a: SimpleNamespace(seeds=range(next(seeds))), RESULTS=None)
    monkeypatch.setattr(_gallery, "archive", found)
    with pytest.raises(RuntimeError, match=r"one caption cannot tell the n of records with \[1, 2, "):
        _gallery.n_seeds("tail_gains")


def result_of(name):
    found = archive.best(archive.RESULTS, name, Catalog("experiments").load(name))
    assert found is not None
    return found.result


def numbers_in_words():
    """Yield what pages say of records in words written by hand, and the pages that say it."""
    contests = README, ROOT / "docs" / "evidence.md"
    for task, method, rival, sign, digits in (
        ("image_classification", "bb_in", "magnitude", -1, 3),
        ("language_model", "bb_in", "random", 1, 2),
        ("language_model", "bb_in", "rigl", 1, 2),
    ):
        (c,) = (
            c
            for c in result_of(task).claims
            if (c.claim, c.method, c.wanted, c.against) == ("tail gain", method, 0.1, rival)
        )
        low, high = sorted((sign * c.low, sign * c.high))
        yield f"{sign * c.effect:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]", contests
    text = [row for row in result_of("language_model").metrics if row.role == "main"]
    masked = sorted(row.mean for row in text if row.method in ("random", "rigl"))
    others = sorted(row.mean for row in text if row.method not in ("random", "rigl", "dense"))
    (dense,) = (row.mean for row in text if row.method == "dense")
    yield (
        (
            f"{masked[0]:.1f} to {masked[-1]:.1f} under random masks and RigL, {dense:.1f} dense, "
            f"{others[0]:.1f} to {others[-1]:.1f} under all others"
        ),
        contests,
    )
    target = {(row.method, row.wanted): row for row in result_of("target_density").rows}
    worst = max(row.worst for (method, _), row in target.items() if method == "feedback")
    yield f"within {100 * worst:.1f} % of densities of 10 to 0.5 %", (README,)
    for method in ("feedback", "magnitude"):
        row = target[method, 0.005]
        low, high = 100 * row.low, 100 * row.high
        yield f"{100 * row.accuracy:.1f} % [{low:.1f}, {high:.1f}]", (README,)
    law = [result_of("pruning_law_lenet").row(name) for name in ("magnitude", "taylor", "hyperflux")]
    n_law, n_curves = sum(row.n_power_law for row in law), sum(row.n for row in law)
    assert n_law == 0
    assert sum(row.n_curved for row in law) == n_curves
    yield f"of {n_curves} curves of magnitude, Taylor and Hyperflux", (README,)
    squares = sorted(row.r_squared for row in law)
    yield f"R² is {squares[0]:.3f} to {squares[-1]:.3f}", (README,)
    law_pages = README, ROOT / "docs" / "hyperflux.md"
    convolutions = [result_of("pruning_law_convnet").row(n) for n in ("hyperflux", "magnitude", "taylor")]
    assert [row.n_power_law for row in convolutions[1:]] == [0, 0]
    said = f"{convolutions[0].n_power_law} of {convolutions[0].n} curves are power laws there, R² is"
    yield f"{said} {convolutions[0].r_squared:.4f}", law_pages
    foretold = result_of("spectrum_predicts_exponent").rows
    for name, is_flux, said in (
        ("ratio", False, "measured over predicted is {:.2f} to {:.2f} for magnitude and Taylor"),
        ("static_ratio", False, "({:.2f} to {:.2f} without the growth)"),
        ("ratio", True, "{:.2f} to {:.2f} for Hyperflux"),
    ):
        ratios = sorted(getattr(row, name) for row in foretold if (row.family == "hyperflux") == is_flux)
        yield said.format(ratios[0], ratios[-1]), law_pages
    held = result_of("fixed_pressure_lenet").rows
    shown = [f"{100 * row.density:.2f}" if row.density > 0.01 else f"{100 * row.density:.3f}" for row in held]
    yield f"densities of {', '.join(shown[:-1])} and {shown[-1]} %", law_pages
    theirs = sorted(row.density / DENSITIES[round(math.log2(row.pressure))] for row in held)
    yield f"{theirs[0]:.2f} to {theirs[-1]:.2f} of theirs", law_pages
    flows = sorted(row.ratio for row in result_of("convergence_at_fixed_pressure").rows if row.flow != "adam")
    yield f"{flows[0]:.2f} to {flows[-1]:.2f} of what Adam leaves", law_pages
    (slow,) = (row for row in result_of("learning_rate_convergence").rows if row.learning_rate == 1e-4)
    yield f"{slow.ratio:.2f} [{slow.ratio_low:.2f}, {slow.ratio_high:.2f}] of what 1e-3 leaves", law_pages
    rows = {(r.case, r.peer): r for r in result_of("bench_training_overhead").rows}
    wide = "4 layers of width 1024, batch 256"
    step = rows[f"{wide}, step", "dense step"]
    plain = rows[f"{wide}, step", "weights times mask in forward, EMA"]
    refresh, both = (
        rows[f"{wide}, refresh{end}", "10 dense steps"].ratio for end in ("", " of both actuators")
    )
    lenet = rows["LeNet-300-100, batch 128, step", "dense step"]
    scale = (ROOT / "docs" / "scale.md",)
    yield f"{1 / step.ratio - 1:.0%}".replace("%", " %") + " over dense", (*scale, README)
    yield f"in forward: {plain.ratio / step.ratio - 1:.0%}); LeNet".replace("%", " %"), scale
    yield f"LeNet-300-100 {1 / lenet.ratio - 1:.0%}".replace("%", " %"), scale
    yield f"{1 / refresh:.1%} more".replace("%", " %"), (*scale, README)
    yield f"SP-in and SP-out together {1 / both:.0%}".replace("%", " %"), scale
    silent = {(r.actuator, r.wanted, r.silent_below): r for r in result_of("silent_units").rows}
    train = (ROOT / "docs" / "train.md",)
    out, kept = silent["bb_out", 0.1, 0.0], silent["bb_out", 0.1, 0.01]
    yield f"SP-out ends at chance, {out.accuracy:.2f};", train
    yield f"at {kept.accuracy:.2f} [{kept.low:.2f}, {kept.high:.2f}]", train
    own, more = (silent["bb_in", 0.1, below].accuracy for below in (0.0, 0.01))
    yield f"SP-in at {own:.2f} and {more:.2f}", train
    lenets = {(r.method, r.wanted): r.accuracy for r in result_of("lenet_density").rows}
    yield f"random masks {lenets['random', 0.1]:.2f}, gradual magnitude {lenets['magnitude', 0.1]:.2f}", train
    flux = [row for row in result_of("bench_hyperflux").rows if row.peer == "dense step, same optimizer"]
    lenet, convolutions = (
        sorted(round(100 / row.ratio - 100) for row in flux if row.case.startswith("2 conv") == is_other)
        for is_other in (False, True)
    )
    yield (
        f"{lenet[0]} to {lenet[-1]} % over the dense step of the same optimizer; two convolutions "
        f"{convolutions[0]} to {convolutions[-1]} %",
        scale,
    )
    chunked = result_of("bench_chunked_solve")
    billion = "1,000,000,000 units, "
    many = {
        (row.case.removeprefix(billion), row.peer): row
        for row in chunked.rows
        if row.case.startswith(billion)
    }
    passes, reads = (many["float32", peer].ratio for peer in ("one np.exp pass", "one read of the file"))
    (memory,) = (row.peak_mb for row in chunked.solved if row.case == f"{billion}float32")
    yield (
        (
            f"take {1 / passes:.1f} passes of np.exp or {1 / reads:.0f} reads of the file from memory, and "
            f"{memory:.0f} MB"
        ),
        scale,
    )
    yield f"which are counted, {1 / many['uint16', 'one np.exp pass'].ratio:.1f} passes", scale


def test_numbers_in_words_are_those_of_the_records():
    for said, pages in numbers_in_words():
        for page in pages:
            text = " ".join(page.read_text(encoding="utf-8").split())
            assert said in text, f"{page.name} must say {said!r}"


def test_what_cannot_be_judged_is_not_left_out_silently(tmp_path, monkeypatch, capsys):
    broken = Judged("a_check", None, (), False, "ValueError: x.json must be a JSON record")
    readme = tmp_path / "README.md"
    readme.write_text("as it was")
    monkeypatch.setattr(refresh, "README", readme)
    monkeypatch.setattr(refresh, "judge_all", lambda: [broken])
    assert refresh.main([]) == 1
    assert "a_check could not be judged: ValueError: x.json" in capsys.readouterr().err
    assert readme.read_text() == "as it was"


def test_words_of_records_do_not_become_markup():
    hostile = "<script>x</script> a|b\n| c | d |\n[e](javascript:x) ![f](http://example.org/f.png) *g*"
    result = CheckResult(hostile, hostile, hostile, "**" + hostile, (0.0, 1.0), "refuted", hostile)
    judged = [Judged("a_check", result, ("walk/cpu/0.json",), own, None) for own in (False, True)]
    judged.append(Judged("broken", None, (), False, hostile))
    for text in (_verdicts.full_page(judged), _verdicts.short_tables(judged), _driver._markdown(judged)):
        assert "<script" not in text
        assert "](javascript" not in text
        assert "](http" not in text
        assert "\n| c" not in text
        rows = [re.findall(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
        assert {len(row) for row in rows} <= {4, 5, 8}


# the site


def test_links_between_pages_lead_somewhere():
    from docs import _reference

    there = {path.name for path in PAGES} | set(_reference.pages()) | {"verdicts.md", "figures.md"}
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+\.md)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
            assert target in there, f"{page.name} leads to {target}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_has_every_page_and_loads_nothing(site):
    from docs import _build

    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 150
    for page in pages:
        assert not _build._LOADED.search(page.read_text(encoding="utf-8")), page.name
    assert _build._LOADED.search('<script defer src="https://example.org/x.js">')
    assert _build._LOADED.search("<link rel=stylesheet href=//example.org/x.css>")
    assert not _build._LOADED.search('<a href="https://example.org">')
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", text), style.name
    assert (site / "theory.html").read_text(encoding="utf-8").count("<math") > 50
    assert not list(site.rglob("*.py")) + list(site.rglob("*.pyc"))


@pytest.mark.slow
@pytest.mark.skipif(chromium.executable() is None, reason="needs a Chromium on PATH")
def test_the_site_works_from_a_file(site, tmp_path):
    found = "document.querySelector('.md-search-result__meta').textContent"
    with chromium.browsing(tmp_path / "profile") as tab:
        for page in (
            "theory.html",
            "verdicts.html",
            "reference/bbtheory/theory/equilibrium.html",
            "index.html",
        ):
            tab.open(site / page)
            tab.settle()
            assert tab.complaints() == []
            assert [url for url in tab.requests() if not url.startswith("file:")] == []
        tab.run(
            "(() => { const field = document.querySelector('.md-search__input'); field.focus();"
            " field.value = 'multiplier'; field.dispatchEvent(new Event('keyup', {bubbles: true})); })()"
        )
        end = time.monotonic() + 60.0
        while "matching" not in tab.run(found) and time.monotonic() < end:
            time.sleep(0.2)
        assert re.search(r"\d+ matching", tab.run(found)), "the search runs without a server"
