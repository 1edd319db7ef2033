"""Imports point one way: what each room may know of the others, read from the sources."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
PACKAGE = SOURCES / "ugmm"

# From the ground up: a room may import from those in lines above its own, and from itself.
ORDER = (
    ("errors", "keys", "metrics", "ranks", "stated", "terminal", "_lazy", "_torchvision"),
    ("_lean",),
    ("writing",),
    ("reading",),
    ("runs", "kernels", "columns", "calibration", "yaml_text"),
    ("functional", "spec"),
    ("answers", "nn", "checkpoints"),
    ("density", "report", "cluster"),
    ("baselines", "data", "inference", "objectives"),
    ("tasks",),
    ("config",),
    ("given",),
    ("trained",),
    ("exported",),
    ("loading", "reporting", "tracking"),
    ("training",),
    ("studies",),
    ("completion", "deploy", "launch", "queries"),
    ("cli", "sklearn"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# Faces of the whole package: they name what a user asks for, when it is asked for.
FACES = ("__init__", "__main__")
NAMED = re.compile(r"ugmm(\.\w+)+(:\w+)?")  # as by builds= and import_module
MOST_FILES = 12  # of a folder, its face among them


def module_of(path):
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module):
    return module.split(".")[1] if "." in module else "__init__"


@cache
def imports_of(module):
    """The modules of this package that one names: at its top, in functions, in strings."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Constant) and NAMED.fullmatch(str(node.value)):
            found.add(node.value.partition(":")[0])
    found = {name for name in found if name.split(".")[0] == "ugmm"}
    known = {name for name in found if name in MODULES}
    # `from ugmm.nn import UGMM` names the face; `from ugmm import objectives` a module.
    return frozenset(known - {module})


def test_every_room_has_its_place():
    rooms = {room_of(module) for module in MODULES if module != "ugmm"} - set(FACES)
    assert rooms <= set(LEVEL), f"say in ORDER where {rooms - set(LEVEL)} stand"


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) not in FACES])
def test_no_import_points_upwards(module):
    room = room_of(module)
    others = {room_of(name) for name in imports_of(module)} - {room, *FACES}
    upwards = sorted(other for other in others if LEVEL[other] >= LEVEL[room])
    assert not upwards, f"{module} ({room}) imports from {upwards}"


def test_there_is_no_circle():
    # A face imports its files, which import each other; a file that imports a face of its own
    # folder would be a circle too.
    graph = {m: imports_of(m) - {"ugmm"} for m in MODULES if room_of(m) not in FACES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_folders_fit_in_the_head():
    folders = [path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    sizes = {module_of(f / "__init__.py"): len(list(f.glob("*.py"))) for f in folders}
    assert {name: n for name, n in sizes.items() if n > MOST_FILES} == {}


@pytest.mark.parametrize("face", [m for m, path in MODULES.items() if path.name == "__init__.py"])
def test_each_folder_has_a_face(face):
    tree = ast.parse(MODULES[face].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)


def test_what_this_reads_is_there():
    """The reader of imports sees each kind: at the top, in a function, in a string."""
    assert "ugmm.errors" in imports_of("ugmm.cli")
    assert "ugmm.config.compose" in imports_of("ugmm.cli")
    assert "ugmm.baselines.mlp" in imports_of("ugmm.config.choices.models")


LIGHT_ROOMS = (
    "config",
    "studies",
    "tracking",
    "cluster",
    "objectives",
    "metrics",
    "spec",
    "runs",
    "writing",
)


def test_composing_comparing_and_tracking_need_no_torch():
    light = [m for m in MODULES if room_of(m) in LIGHT_ROOMS] + ["ugmm.baselines"]
    code = f"import sys, {', '.join(light)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "sklearn", "matplotlib"} & set(done.stdout.split())
