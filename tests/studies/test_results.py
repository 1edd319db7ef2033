"""The page of results: what its writer replaces, and what it leaves as it is."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ugmm.studies import results
from ugmm.studies.results import RESULTS, publish_section

PAGE = """# Results

1. By hand.

## Contents

<!-- contents -->
- [Long gone](#long-gone)
<!-- /contents -->

## Norms & more

By hand, too.

<!-- norms -->
### Does a norm help, or mnist_norm?
old \\1
<!-- /norms -->

## Last

<!-- crossval iris -->
### Iris
kept
<!-- /crossval iris -->
"""


@pytest.fixture
def publish(tmp_path):
    """Publish a section on a page; returns the page's text."""

    def write(study, section, page=None):
        path = tmp_path / RESULTS
        if page is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_text(page)
        assert publish_section(tmp_path, study, section) == path
        return path.read_text()

    return write


def test_a_section_is_replaced_where_it_stands(publish):
    text = publish("norms", "### Does a norm help, or mnist_norm?\nnew \\1\n", PAGE)
    contents = (
        "- [Norms & more](#norms--more)\n"
        "  - [Does a norm help, or mnist_norm?](#does-a-norm-help-or-mnist_norm)\n"
        "- [Last](#last)\n"
        "  - [Iris](#iris)\n"
    )
    assert text == PAGE.replace("old", "new").replace("- [Long gone](#long-gone)\n", contents)


def test_a_place_may_be_kept_for_a_section(publish):
    place = "<!-- later -->\n<!-- /later -->\n\n"
    text = publish("later", "### Later\n", PAGE.replace("<!-- norms", f"{place}<!-- norms"))
    assert text.index("## Norms") < text.index("### Later\n") < text.index("### Does")
    assert "## Not yet sorted" not in text


def test_a_new_section_goes_to_the_end_until_it_is_moved(publish):
    text = publish("new", "### New\n", PAGE)
    section = "<!-- new -->\n### New\n<!-- /new -->\n"
    assert text.endswith(f"## Not yet sorted under a topic\n\n{section}")
    text = publish("newer", "### Newer\n")
    assert text.count("## Not yet sorted") == 1
    assert text.index("### New\n") < text.index("### Newer\n")
    moved = text.replace(section, "").replace("## Last\n", f"{section}\n## Last\n")
    assert publish("new", "### New\n", moved).index("### New\n") < moved.index("## Last")


def test_studies_of_two_kinds_may_have_one_name(publish):
    text = publish("iris", "### An ablation\n", PAGE)
    assert "### Iris\nkept\n" in text
    assert "### An ablation\n" in text


def test_the_first_section_makes_the_page(publish):
    text = publish("mine", "### Mine\n")
    assert text.startswith("# Results\n")
    assert "  - [Mine](#mine)\n<!-- /contents -->\n" in text
    assert publish("mine", "### Mine\n") == text


def test_a_page_without_a_place_for_contents_has_none(publish):
    assert "](#" not in publish("mine", "### Mine\n", "# Of one's own\n")


def test_studies_that_are_published_at_once_are_all_there(tmp_path, monkeypatch):
    def slowly(text):
        time.sleep(0.02)  # the others read meanwhile, if they may
        return text

    monkeypatch.setattr(results, "_with_contents", slowly)
    names = [f"study {number}" for number in range(4)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: publish_section(tmp_path, name, f"### {name}\n"), names))
    text = (tmp_path / RESULTS).read_text()
    assert all(f"<!-- {name} -->\n### {name}\n" in text for name in names)
