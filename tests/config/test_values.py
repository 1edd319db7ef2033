"""Texts cross YAML once: a key that holds a text takes it as it is written."""

import re
import shlex

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.config.frozen import from_mapping, from_yaml, to_mapping, to_yaml
from ugmm.config.values import literal
from ugmm.data import read_csv
from ugmm.errors import UserError

ODD = (
    "no",
    "on",
    "01",
    "1e3",
    "null",
    "~",
    "true",
    "a #1",
    "x: y",
    "[1, 2]",
    "{a",
    "!!int x",
    "a\nb",
)


SLOW = [HealthCheck.too_slow]  # as a busy machine is


def table(*overrides, **layer):
    return compose("iris_disc", overrides, [("a study", {"data": "csv", **layer})])


@pytest.mark.parametrize("text", ODD)
def test_the_command_line_gives_texts_as_they_are(text):
    config = table(f"name={text}", f"data.path=/{text}", f"data.types.a={text}")
    assert (config.name, config.data.path, config.data.types) == (text, f"/{text}", {"a": text})
    label = None if text in ("null", "~") else text
    assert table(f"data.label={text}").data.label == label
    assert from_yaml(to_yaml(config), "frozen") == config


@pytest.mark.parametrize("text", ["no", "on", "01", "1e3", "true", "0x1", "1_000", "2019-01-01"])
def test_a_file_gives_texts_as_they_are_without_quotes(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "defaults: {data: csv, model: ugmm, task: discriminative}\n"
        f"name: {text}\ntracking: {{tags: [{text}, '{text}']}}\n"
        f"data: {{label: {text}, types: {{{text}: {text}}}}}\n"
    )
    config = compose(str(path))
    assert (config.name, config.data.label, config.data.types) == (text, text, {text: text})
    assert config.tracking.tags == [text, text]


def test_quotes_give_what_has_another_meaning_without():
    config = table("data.label='null'", 'name=""', "tracking.tags=['a, b', \"c\"]")
    assert (config.data.label, config.name, config.tracking.tags) == ("null", "", ["a, b", "c"])
    assert table("data.label=null").data.label is None
    assert table("name='a' and 'b").name == "'a' and 'b"


def test_numbers_and_bools_are_those_of_yaml():
    config = table(
        "optimizer.lr=010", "seed=007", "trainer.devices=2", "trainer.log_every_n_steps=+5"
    )
    assert (config.optimizer.lr, config.seed, config.trainer.devices) == (10.0, 7, 2)
    assert compose("iris_disc", ["trainer.fast_dev_run=True"]).trainer.fast_dev_run is True
    for text in ("yes", "on", "1", "1e30", "null"):
        with pytest.raises(UserError, match=r"fast_dev_run=.* must be true or false"):
            compose("iris_disc", [f"trainer.fast_dev_run={text}"])
    with pytest.raises(UserError, match="fast_dev_run=yes must be true or false"):
        compose("iris_disc", layers=[("a study", {"trainer.fast_dev_run": "yes"})])


@pytest.mark.parametrize("text", ["9" * 400, "9" * 3000, "9" * 5000, "-" + "9" * 400])
@pytest.mark.parametrize("key", ["seed", "optimizer.lr", "model.dropout"])
def test_a_number_of_hundreds_of_digits_is_one_line(key, text):
    with pytest.raises(UserError, match=rf"command line: {key}"):
        compose("iris_disc", [f"{key}={text}"])


@pytest.mark.parametrize("key", ["seed", "optimizer.lr", "model.hidden"])
@pytest.mark.parametrize("text", ["1_000", "\u0663", "\uff11\uff12"])
def test_digits_that_only_python_takes_are_no_number(key, text):
    said = f"{key}=[{text}]" if key == "model.hidden" else f"{key}={text}"
    with pytest.raises(UserError, match=rf"command line: {key}={text} is no number"):
        compose("iris_disc", [said])


COLUMNS = (
    "no",
    "2019",
    "length, cm",
    "note: free",
    "it's",
    'a "b"',
    "${seed}",
    "a #1",
    "ünï",
    "01",
)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_remedy_can_be_pasted_into_a_shell(tmp_path, name):
    path = tmp_path / "table.csv"
    header = '"' + name.replace('"', '""') + '"'
    path.write_text(f"x,{header},y\n1,u,a\n2,v,b\n3,w,a\n4,z,b\n")
    with pytest.raises(UserError) as caught:
        read_csv(path, "y")
    found = re.search(r"leave it out by (.*), or keep it by (.*)$", str(caught.value))
    for said, kind in zip(found.groups(), ("drop", "categorical"), strict=True):
        types = table(*shlex.split(said)).data.types
        assert types == {name: kind}
        assert read_csv(path, "y", types=types).x.shape == (4, 1 if kind == "drop" else 5)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(UserError, match="is not UTF-8 text"):
        compose("iris_disc", ["name=\udcff"])
    with pytest.raises(UserError, match="name holds a NUL character"):
        compose("iris_disc", layers=[("a study", {"name": "a\0b"})])


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(derandomize=True, deadline=None, max_examples=15, suppress_health_check=SLOW)
@given(texts | st.sampled_from(["${seed}", "???", "\\${seed}", "${nope}", "${oc.env:HOME}", *ODD]))
@example("${seed}")
def test_literal_texts_stay_through_composing_freezing_and_reading(text):
    config = table(**literal({"name": text, "data.label": text, "data.types": {"a": text}}))
    assert (config.name, config.data.label, config.data.types) == (text, text, {"a": text})
    assert (
        from_yaml(to_yaml(config), "frozen")
        == from_mapping(to_mapping(config), "a plan")
        == config
    )


def test_what_is_shown_is_a_valid_frozen_configuration(capsys):
    assert main(["show", "iris_disc", "data=csv", "data.label=no", "name=x: y"]) == 0
    shown = from_yaml(capsys.readouterr().out, "shown")
    assert (shown.data.label, shown.name) == ("no", "x: y")


def test_an_error_is_one_line_that_can_be_read():
    for override in (f"model={'a' * 3000}", f"optimizer.lr={'1, ' * 3000}", "a\x1b[31m\nb=1"):
        with pytest.raises(UserError) as caught:
            compose("iris_disc", [override])
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2010
    assert "unknown choice model=aaa" in str(UserError(f"unknown choice model={'a' * 3000}"))
