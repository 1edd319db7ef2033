"""YAML 1.2 and nothing that runs: what is written is read, and damage is one line."""

import math

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ugmm import yaml_text
from ugmm.errors import UserError
from ugmm.yaml_text import Plain, read, read_mapping, to_values, write, write_pair

TRICKY = (
    "no", "1e3", "01", "0x1F", "1_000", "1:30", "2019-01-01", ".inf", "nan", "True", "null", "~",
    "", " a", "a ", "a\t", "a #1", "x: y", "a:", "#a", "- a", "? a", "'", '"', "${seed}",
    "!!int x", "&a", "*a", "<<", "=", "{a", "a, b", "%a", "@a", "|", "---", "...", "a\nb", "\r\n",
    "\0", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\U0001f600",
)  # fmt: skip
SLOW = [HealthCheck.too_slow]  # as a busy machine is
characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
pieces = st.lists(st.sampled_from(TRICKY), max_size=3).map("".join)
texts = st.sampled_from(TRICKY) | pieces | characters
numbers = st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
contents = st.recursive(
    texts | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("loader", [yaml_text._Loader, yaml.SafeLoader])
def test_what_is_written_is_read(monkeypatch, loader):
    monkeypatch.setattr(yaml_text, "_Loader", loader)

    @settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=SLOW)
    @given(st.dictionaries(texts, contents, max_size=3))
    @example({text: list(TRICKY) for text in TRICKY})
    def check(content):
        again = to_values(read_mapping(write(content), "a file"))
        assert repr(again) == repr(content)  # 1 is not 1.0, nor True

    check()


@settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=SLOW)
@given(texts)
@example("length, cm")
def test_a_pair_is_read_as_it_is_written(key):
    assert to_values(read(write_pair(key, "drop"), "")) == {key: "drop"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("yes", "yes"), ("on", "on"), ("n", "n"), ("", None),
        ("~", None), ("null", None), ("None", "None"), ("7", 7), ("010", 10), ("-1", -1),
        ("0x1F", "0x1F"), ("0o17", "0o17"), ("1_000", "1_000"), ("1:30", "1:30"), ("1.", 1.0),
        ("1e-3", 1e-3), ("1E3", 1e3), (".5", 0.5), ("-.inf", -math.inf), ("inf", "inf"),
        ("9" * 5000, math.inf), ("2019-01-01", "2019-01-01"), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_the_core_schema(text, value):
    found = Plain(text).value
    assert (found, type(found)) == (value, type(value))


def test_a_text_without_quotes_is_kept_as_it_is_written():
    content = read_mapping("{a: 01, b: '01', 01: no, null: [1e3]}", "")
    assert content == {"a": Plain("01"), "b": "01", "01": Plain("no"), "null": [Plain("1e3")]}
    assert read_mapping("", "") == read_mapping("# nothing\n", "") == {}


def test_aliases_stand_for_what_they_name():
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{y: 5}, *a]}\n"
    found = to_values(read_mapping(text, ""))
    assert found["b"] == found["a"] == {"x": 1, "y": 2}
    assert (found["c"], found["d"]) == ({"x": 1, "y": 3}, {"y": 5, "x": 1})


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60))


@pytest.mark.parametrize("loader", [yaml_text._Loader, yaml.SafeLoader])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nseed: !!int x\n", "line 2: !!int is a tag, and none is needed"),
        ("a: !!python/object/apply:os.system ['true']\n", "!!python/object/apply:os.system is a"),
        ("!mine {a: 1}\n", "line 1: !mine is a tag"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is there twice"),
        ("{1: x, '1': y}\n", "the key '1' is there twice"),
        ("? [a]\n: b\n", "a key must be a text"),
        ("&a x: 1\n*a : 2\n", "a key must be a text"),
        ("a: &a [*a]\n", "nothing is named &a before this"),
        ("a: {<<: 3}\n", "<< takes in mappings only"),
        ("a: [1\n", "did not find expected|expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", "line 2: "),
        ("a: 'x\n", "quoted scalar"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document"),
        ("a: \x07\n", "control characters are not allowed|special characters are not allowed"),
        ("a: \ud800\n", "surrogates not allowed|special characters are not allowed"),
        (BOMB, "more than 10,000 values"),
        ("[" * 100_000, "more than 50 collections within one another"),
        ("5\n", "expected keys and values"),
        ("- a\n", "expected keys and values"),
        ("'a: b'\n", "expected keys and values"),
    ],
)
def test_damage_is_one_line_that_names_its_place(monkeypatch, loader, text, complaint):
    monkeypatch.setattr(yaml_text, "_Loader", loader)
    with pytest.raises(UserError, match=rf"^mine\.yaml: .*({complaint})") as caught:
        read_mapping(text, "mine.yaml")
    assert "\n" not in str(caught.value)
