"""The parts that pages are made of, and the colours that all pages share."""

import itertools
import re

import pytest
from looking import check_html

from ugmm.report.page import Html, document, heading, table
from ugmm.report.tables import Cells


def page(*parts):
    return document("t", [heading("t", 1), *parts])


def test_a_table_names_its_rows():
    html = page(table(Cells(["a", "b"], [["x<", "1"]])))
    assert '<th scope="row" class="text" dir="auto">x&lt;</th><td dir="auto">1</td>' in html
    check_html(html)


@pytest.mark.parametrize("broken", ["<p><b></p></b>", "<script></script>", "<img src='a.png'>"])
def test_the_check_sees_what_is_wrong(broken):
    with pytest.raises((AssertionError, KeyError)):
        check_html(page(Html(broken)))


def luminance(colour):
    """WCAG 2's relative luminance of a colour such as #16181c."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_texts_stand_out_in_light_and_in_dark():
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", page(), re.DOTALL)
    )
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for text, ground in itertools.product(("ink", "muted"), ("paper", "shade")):
            bright = sorted(luminance(colours[name]) for name in (text, ground))
            assert (bright[1] + 0.05) / (bright[0] + 0.05) > 4.5, (text, ground)
