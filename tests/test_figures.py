"""Each picture of docs/images has a command that makes it, which docs/pictures.md names."""

import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ugmm.config.compose import compose
from ugmm.config.files import list_files

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


@pytest.fixture
def figures(monkeypatch):
    """The programs of docs/figures, by their names."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "figures"))
    found = {}
    for name in ("architecture", "pictures"):
        found[name] = __import__(name)
        monkeypatch.delitem(sys.modules, name)
    return found


def test_every_picture_has_a_command(figures):
    named = {picture.name for picture in figures["pictures"].PICTURES}
    assert named == {path.name for path in IMAGES.iterdir() if path.is_file()}
    ablations = list_files()[next(kind for kind in list_files() if "ablation" in kind.names)]
    assert {path.stem for path in (IMAGES / "ablations").iterdir()} <= set(ablations)
    studies = {path.stem for path in (ROOT / "experiments" / "crossval").glob("*.yaml")}
    assert {path.stem for path in (IMAGES / "crossval").glob("*")} <= studies


def test_the_page_has_all_of_them(figures):
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    for picture in figures["pictures"].PICTURES:
        (line,) = [line for line in page.splitlines() if f"images/{picture.name})" in line]
        assert all(f"`{command}`" in line for command in picture.commands)
        assert ("| yes |" in line) == picture.is_quick


def test_the_commands_are_ones(figures):
    for picture in figures["pictures"].PICTURES:
        for program, first, *rest in map(shlex.split, picture.commands):
            if program == "python":
                assert (ROOT / first).exists(), first
            elif first == "train":
                compose(rest[0], rest[1:])


def test_the_architecture_is_the_one_that_is_shown(figures):
    architecture = figures["architecture"]
    drawn = {name: architecture.draw(ink) for name, ink in architecture.INKS.items()}
    assert drawn["light"] != drawn["dark"]
    for name, picture in drawn.items():
        shown = (IMAGES / f"architecture_{name}.svg").read_bytes()
        assert ElementTree.fromstring(picture).get("viewBox") == "0 0 576 280.8"
        assert picture.count(b"<path") == shown.count(b"<path")
