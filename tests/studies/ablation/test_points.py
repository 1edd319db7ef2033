"""The file of a plan: every key is checked, and each mistake is one line with the remedy."""

import errno
import json
from pathlib import Path

import pytest

from ugmm.errors import UserError
from ugmm.studies.ablation.points import format_plan, parse_plan, read_plan

PATH = Path("runs/mine/ablation/plan.json")


def make_entry(point_id):
    config = {"runs_dir": "runs", "group": "mine", "name": "plain seed=0", "trainer": {}}
    return {"id": point_id, "variant": "plain", "repetition": "seed=0", "config": config}


@pytest.mark.parametrize(
    ("keys", "value", "why"),
    [
        ((), 5, "it has no list of points"),
        ((), [], "it has no list of points"),
        (("points",), {}, "it has no list of points"),
        (("points", 0), None, r"points\[0\] must map keys to values"),
        (("points", 1), {"id": "0123abcd"}, "it lacks 'variant'"),
        (("points", 0, "id"), "../../x", r"points\[0\].id is '../../x', not 8 or more digits"),
        (("points", 0, "id"), 5, r"points\[0\].id is no text"),
        (("points", 0, "variant"), ["a"], r"points\[0\].variant is no text"),
        (("points", 0, "config"), None, r"points\[0\].config must map keys to values"),
        (("points", 0, "config"), "[1", "expected ',' or"),
        (("points", 0, "config"), "a", r"points\[0\].config: expected keys and values"),
        (("points", 0, "config", "name"), 5, r"config.name must be a text, not 5"),
        (("points", 0, "config", "runs_dir"), "a\0", r"config.runs_dir must be a text"),
        (("points", 0, "config", "trainer"), 5, r"config.trainer must map keys to values"),
        (("points", 0, "config", "model"), None, r"config.model must map keys to values"),
        (("points", 1, "id"), "0123abcd", "several points have the id 0123abcd"),
    ],
)
def test_each_key_of_a_plan_is_checked(keys, value, why):
    holder = whole = {"whole": {"points": [make_entry("0123abcd"), make_entry("4567cdef")]}}
    *path, last = ("whole", *keys)
    for key in path:
        holder = holder[key]
    holder[last] = value
    with pytest.raises(UserError, match=rf"is damaged \(.*{why}.*remove it to plan") as mistake:
        parse_plan(json.dumps(whole["whole"]), PATH)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("text", ["{", "null", "[" * 100_000])
def test_what_is_no_json_is_one_line(text):
    with pytest.raises(UserError, match=r"is damaged .*remove it to plan anew"):
        parse_plan(text, PATH)


def test_a_plan_is_read_back():
    points = parse_plan(json.dumps({"points": [make_entry("0123abcd")]}), PATH)
    assert parse_plan(format_plan(points), PATH) == points
    assert points[0].run.folder == Path("runs/mine/plain_seed-0-0123abcd")


def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    assert read_plan(tmp_path / "nothing" / "plan.json") == ""
    (tmp_path / "plan.json").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"plan.json is damaged .*remove it to plan anew"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(UserError, match=r" is a folder; remove it to plan anew"):
        read_plan(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"cannot read plan.json: permission is denied; get acc"):
        read_plan(Path("plan.json"))
