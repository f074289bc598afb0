"""The whole page in a browser: nothing on the console, nothing loaded, and an explorer that says what the solver says."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import chromium
from bbtheory import binary_entropy, solve_equilibrium
from bbtheory.report.page import make_page
from pages import PNG, SVG, check, write_checks, write_figure, write_record

pytestmark = pytest.mark.skipif(chromium.executable() is None, reason="needs a Chromium on PATH")

CLOSE = 1e-5  # relative: the page shows six digits; its formulas are held to 1e-9 without a page


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    record = write_record(folder / "results", "walk", {"slope": 1.25, "rows": [{"case": "a", "ratio": 2.0}]})
    write_figure(folder / "figures", "drawn", SVG)
    write_figure(folder / "figures", "pixels", PNG, "png")
    write_checks(folder / "verdicts.json", check(records=[record.relative_to(folder / "results").as_posix()]))
    page = make_page(folder / "results", folder / "figures", folder / "verdicts.json", {"walk": "Where to?"})
    assert page.problems == ()
    (folder / "report.html").write_text(page.html, encoding="utf-8")
    with chromium.browsing(folder / "profile") as tab:
        tab.send(
            "Emulation.setDeviceMetricsOverride", width=1200, height=900, deviceScaleFactor=1, mobile=False
        )
        tab.path = folder / "report.html"
        tab.open(tab.path)
        yield tab


@pytest.fixture
def fresh(tab):
    """The page opened anew."""
    tab.open(tab.path)
    tab.settle()
    return tab


@pytest.fixture
def page(tab):
    """The page as it opens, without opening it."""
    tab.send("Emulation.setEmulatedMedia", media="", features=[])
    tab.run("document.getElementById('explorer-controls').reset()")
    tab.run("document.querySelectorAll('details').forEach(d => { d.open = false; })")
    put(tab, "beta", 0.5)
    tab.events.clear()
    return tab


def put(page, field: str, value) -> None:
    """Type a value into a field of the explorer."""
    page.run(
        f"(() => {{ const f = document.getElementById('{field}'); f.value = {json.dumps(str(value))};"
        " f.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    page.settle()


def answer(page) -> dict[str, str]:
    return page.run(
        "Object.fromEntries([...document.querySelectorAll('#explorer-answer div')]"
        ".map(d => [d.children[0].textContent, d.children[1].textContent]))"
    )


def units(page) -> np.ndarray:
    """Return the table of units: fan-out, count, on-rate, traffic, log-odds, entropy."""
    rows = page.run(
        "[...document.querySelectorAll('#explorer-units tbody tr')].map(r => [...r.children].map(c => c.textContent))"
    )
    return np.array(rows, dtype=float)


def assert_page_says(page, **given: float) -> None:
    """Assert that totals and units of the page are those of the solver for the fan-outs in its table."""
    shown, table = answer(page), units(page)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a budget that does not bind
        e = solve_equilibrium(table[:, 0], count=table[:, 1].astype(int), **given)
    assert shown["status"] == e.status
    totals = {
        "β, nats per link": e.beta,
        "budget T, links per step": e.budget,
        "traffic, links per step": e.traffic,
        "coding entropy, nats": e.coding_entropy,
        "price of traffic dH/dT": e.price_of_traffic,
        "dT/dβ": e.dtraffic_dbeta,
        "units": e.n_units,
        "without audience": e.n_silent,
        "on-rate below float64": e.n_underflow,
    }
    for name, value in totals.items():
        assert float(shown[name]) == pytest.approx(value, rel=CLOSE, abs=1e-12), name
    columns = (e.on_rate, e.unit_traffic, e.inactivity_log_odds, binary_entropy(e.on_rate))
    np.testing.assert_allclose(table[:, 2:], np.stack(columns, axis=1), rtol=CLOSE)


def points(page, panel: str) -> np.ndarray:
    """Return the places of the dots of a panel."""
    found = page.run(
        f"[...document.querySelectorAll('#panel-{panel} circle')].map(c => [c.getAttribute('cx'), c.getAttribute('cy')])"
    )
    return np.array(found, dtype=float)


def test_it_opens_in_silence(fresh):
    assert fresh.complaints() == []
    assert fresh.requests() == [fresh.path.resolve().as_uri()]
    widths = fresh.run("[...document.images].map(i => i.complete && i.naturalWidth)")
    assert all(width > 0 for width in widths)
    assert len(widths) == 2


def test_its_policy_stops_what_is_not_its_own(fresh):
    fresh.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.bad = 1\">')")
    fresh.run("(() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
             " document.body.append(s); })()")  # fmt: skip
    fresh.settle()
    assert fresh.run("window.bad") is None
    assert any("Content Security Policy" in line for line in fresh.complaints())


def test_it_opens_with_an_answer(fresh):
    assert_page_says(fresh, beta=0.5)
    assert fresh.run("document.getElementById('explorer-command').textContent") == (
        "python -m bbtheory.solve --fan-out 1:32 --beta 0.5"
    )


@pytest.mark.parametrize("beta", [0, 0.02, 3.5, 20])
def test_a_price_is_answered(page, beta):
    put(page, "beta", beta)
    assert_page_says(page, beta=beta)


@pytest.mark.parametrize("budget", [1e-3, 8, 500])
def test_a_budget_is_answered(page, budget):
    put(page, "budget", budget)
    assert page.run("document.getElementById('given-budget').checked")
    assert_page_says(page, budget=budget)


def test_the_population_is_asked_for(page):
    for field, value in (("budget", 5), ("last", 37), ("first", 0), ("step", 4), ("tail", 1.5)):
        put(page, field, value)
    assert_page_says(page, budget=5)
    assert units(page)[:, 0].tolist() == list(range(0, 38, 4))
    file = page.run("document.getElementById('population-text').value")
    assert page.run("document.getElementById('explorer-command').textContent").endswith(
        "units.csv --budget 5"
    )
    counts = [line.split(",")[1] for line in file.splitlines()[1:]]
    assert units(page)[:, 1].tolist() == [float(c) for c in counts]


def test_the_command_it_shows_gives_what_it_shows(page, capsys):
    from bbtheory.solve.__main__ import main

    for field, value in (("last", 40), ("first", 2), ("step", 3), ("budget", 4.25)):
        put(page, field, value)
    command = page.run("document.getElementById('explorer-command').textContent")
    assert command == "python -m bbtheory.solve --fan-out 2:40:3 --budget 4.25"
    assert main([*command.split()[3:], "--json"]) == 0
    solved = json.loads(capsys.readouterr().out)
    assert float(answer(page)["β, nats per link"]) == pytest.approx(solved["beta"], rel=CLOSE)
    np.testing.assert_allclose(units(page)[:, 2], solved["units"]["on_rate"], rtol=CLOSE)


def test_the_keyboard_moves_a_slider_and_all_that_hangs_on_it(page):
    page.run("document.getElementById('beta-slider').focus()")
    dots = points(page, "on-rate")
    page.press("ArrowRight", 5)
    page.settle()
    beta = float(page.run("document.getElementById('beta').value"))
    assert beta == pytest.approx(10 ** (-0.3 + 0.05), rel=1e-3)
    assert_page_says(page, beta=beta)
    lower = points(page, "on-rate")
    assert (lower[:8, 1] > dots[:8, 1]).all(), "a higher price, lower on-rates: further down in the drawing"
    assert page.run("document.getElementById('beta-slider').getAttribute('aria-valuetext')") == f"{beta:g}"
    page.run("document.getElementById('budget-slider').focus()")
    page.press("ArrowLeft", 3)
    page.settle()
    assert page.run("document.getElementById('given-budget').checked")
    assert_page_says(page, budget=float(page.run("document.getElementById('budget').value")))
    page.run("document.getElementById('first-slider').focus()")
    page.press("End")
    page.settle()
    assert page.run("[document.getElementById('first').value, document.getElementById('last').value]") == [
        "128",
        "128",
    ]
    assert "problem" not in page.run("document.getElementById('explorer-status').className")


def test_every_panel_draws_the_units(page):
    table = units(page)
    for panel, column in (("on-rate", 2), ("traffic", 3), ("entropy", 5)):
        dots = points(page, panel)
        assert len(dots) == len(table) == 32
        # the drawing is affine in the numbers; y grows downwards
        assert np.corrcoef(dots[:, 0], table[:, 0])[0, 1] == pytest.approx(1, abs=1e-6)
        assert np.corrcoef(dots[:, 1], table[:, column])[0, 1] == pytest.approx(-1, abs=1e-6)
    assert len(points(page, "price")) == 1
    page.run("document.getElementById('logarithmic').click()")
    page.settle()
    dots = points(page, "on-rate")
    assert np.corrcoef(dots[:, 0], np.log(table[:, 0]))[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"beta": ""}, "beta must be a number"),
        ({"beta": -1}, "beta must be a number"),
        ({"budget": 0}, "budget must be a number above 0"),
        ({"first": 40}, "The largest fan-out must not be below the smallest"),
        ({"first": 1.5}, "Not a number the field allows"),
        ({"last": 100000}, "At most 4096 different fan-outs"),
    ],
)
def test_what_cannot_be_answered_is_said(page, fields, told):
    before = answer(page)
    for field, value in fields.items():
        put(page, field, value)
    assert told in page.run("document.getElementById('explorer-status').textContent")
    assert answer(page) == before
    put(page, "beta", 0.25)
    for field, value in (("last", 32), ("first", 1)):
        put(page, field, value)
    assert_page_says(page, beta=0.25)
    assert page.complaints() == []


@pytest.mark.parametrize(
    "fields",
    [{"beta": 1e300}, {"budget": 1e-300}, {"beta": 1e-300}, {"first": 32, "last": 32}, {"last": 4096}],
)
def test_nothing_undefined_is_drawn(page, fields):
    for field, value in fields.items():
        put(page, field, value)
    assert page.complaints() == []
    drawn = page.run(
        "document.querySelector('.panels').innerHTML + document.getElementById('explorer-answer').innerHTML"
    )
    for word in ("NaN", "Infinity", "undefined"):
        assert word not in drawn


def test_all_that_can_be_used_has_a_name(page):
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = (
        "slider",
        "spinbutton",
        "radio",
        "checkbox",
        "textbox",
        "link",
        "table",
        "image",
        "region",
        "navigation",
        "group",
    )
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    used = [(role, name) for role, name in found if role in roles]
    assert {role for role, _ in used} >= {
        "slider",
        "spinbutton",
        "radio",
        "checkbox",
        "link",
        "table",
        "image",
    }
    # a group may be a fold, which is named by its summary
    assert [(role, name) for role, name in used if not name and role != "group"] == []
    assert sum(role in ("main", "banner", "contentinfo", "navigation") for role, _ in found) == 4


def test_the_first_key_skips_to_the_content(fresh):
    fresh.press("Tab")
    assert fresh.run("document.activeElement.textContent") == "Skip to the content"
    assert fresh.run("document.activeElement.getBoundingClientRect().left >= 0")


@pytest.mark.parametrize("width", [320, 360, 768])
def test_it_fits_a_phone(page, width):
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=740, deviceScaleFactor=1, mobile=True)
    try:
        page.settle()
        page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.settle()
        assert page.run("document.documentElement.scrollWidth") <= width
    finally:
        page.send(
            "Emulation.setDeviceMetricsOverride", width=1200, height=900, deviceScaleFactor=1, mobile=False
        )


def test_it_is_dark_where_that_is_asked_for_and_light_on_paper(page):
    def ground() -> str:
        return page.run("getComputedStyle(document.documentElement).backgroundColor")

    assert ground() == "rgb(255, 255, 255)"
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.send("Emulation.setEmulatedMedia", features=dark)
    assert ground() == "rgb(16, 20, 24)"
    page.send("Emulation.setEmulatedMedia", media="print", features=dark)
    assert ground() == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.getElementById('explorer-controls')).display") == "none"


def test_paper_shows_what_is_folded(page):
    folds = "[...document.querySelectorAll('details:not([hidden])')].map(d => d.open)"
    assert set(page.run(folds)) == {False}
    page.run("addEventListener('beforeprint', () => { window.seen = " + folds + "; })")
    page.send("Page.printToPDF")
    assert set(page.run("window.seen")) == {True}
    assert set(page.run(folds)) == {False}


def test_it_holds_still_for_those_who_ask(page):
    def motion() -> str:
        return page.run("getComputedStyle(document.documentElement).scrollBehavior")

    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    assert motion() == "auto"
    page.send(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "no-preference"}]
    )
    assert motion() == "smooth", "a control"


def test_a_picture_of_it_can_be_taken(page, tmp_path):
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
