"""The smallest pieces of the page: text, numbers, elements and ids."""

from __future__ import annotations

import pytest

from bbtheory.report.markup import (
    LONGEST_TEXT,
    Identifiers,
    Markup,
    breakable,
    counted,
    element,
    number,
    text,
)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("-inf"), "–"),
        (10**400, "–"),
        (True, "yes"),
        (0, "0"),
        (123456789, "123456789"),
        (10**15, "1e+15"),
        (0.1 + 0.2, "0.3"),
        (1e-300, "1e-300"),
        ("word", "word"),
    ],
)
def test_numbers(value, told):
    assert number(value) == told


def test_text_is_escaped_once():
    assert text("a < b & \"c\" 'd'") == "a &lt; b &amp; &quot;c&quot; &#x27;d&#x27;"
    assert text(text("<")) == "&lt;"
    assert element("p", Markup("<b>x</b>"), "<i>") == "<p><b>x</b>&lt;i&gt;</p>"
    assert breakable("a_<b") == "a_<wbr>&lt;b"


def test_text_is_cut_where_nobody_reads_on():
    assert len(text("x" * 10**6)) == LONGEST_TEXT + 1
    assert text("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT


def test_elements():
    assert element("br") == "<br>"
    made = element("a", "x", href="#y", class_="z", aria_label='"', hidden=True, id=None, title=False)
    assert made == '<a href="#y" class="z" aria-label="&quot;" hidden>x</a>'
    assert element("p", None, 3, "") == "<p>3</p>"


def test_ids_are_given_once():
    ids = Identifiers()
    given = [ids.new("record", name) for name in ("a b", "a-b", "a.b", "a b", "a b 2", "<>", "<>", "ä", "")]
    assert len(set(given)) == len(given)
    assert given[0] == "record-a-b"
    assert not any("." in each for each in given), "a full stop is free for parts"


def test_counts_in_words():
    assert [counted(n, "figure") for n in (0, 1, 2)] == ["0 figures", "1 figure", "2 figures"]
