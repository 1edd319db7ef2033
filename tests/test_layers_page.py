"""What docs/layers.md shows is so."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")


def test_layers_have_the_shapes_that_are_shown():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    shown = re.findall(r"^([\w, ]+) = .*  # (.*)$", code, re.MULTILINE)
    assert len(shown) == 3
    for variables, shapes in shown:
        found = [str(tuple(names[name].shape)) for name in variables.split(", ")]
        assert " and ".join(found) == shapes


def test_pictures_and_pages_are_there():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target


def test_experiments_and_ablations_exist():
    named = re.findall(r"`((?:mnist|fashion|diabetes)_\w+)`", PAGE)
    ran = re.findall(r"ugmm (?:ablate|compare) (\w+)", PAGE)
    assert len(named) > 5
    for name in {*named, *ran}:
        paths = [
            ROOT / "experiments" / f"{name}.yaml",
            ROOT / f"experiments/ablations/{name}.yaml",
        ]
        assert any(path.is_file() for path in paths), name
