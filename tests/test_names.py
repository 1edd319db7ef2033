"""Names that are promised are there, at the faces and for type checkers alike."""

import ast
import importlib
from pathlib import Path

import pytest

import ugmm

SOURCES = Path(ugmm.__file__).parent
ROOMS = sorted(
    path.stem if path.suffix else path.name
    for path in SOURCES.iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
)
FACES = sorted(path for path in SOURCES.rglob("__init__.py") if path.parent != SOURCES)
PUBLIC = [*FACES, *sorted(path for path in SOURCES.glob("[a-z]*.py"))]


def dotted(path):
    parts = path.relative_to(SOURCES.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def body(path):
    return ast.parse(path.read_text(encoding="utf-8")).body


def said(path):
    """What a file's `__all__` says; None where it has none."""
    for node in body(path):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    return None


def imported(nodes):
    found = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in found for alias in node.names}


def checked(path):
    """What type checkers alone see imported."""
    blocks = [node for node in body(path) if isinstance(node, ast.If)]
    seen = [block.body for block in blocks if getattr(block.test, "id", "") == "TYPE_CHECKING"]
    return imported([node for nodes in seen for node in nodes])


def test_the_package_names_every_room_and_what_loads_a_run():
    assert sorted(ugmm.__all__) == sorted([*ROOMS, "load", "load_task"])
    assert checked(SOURCES / "__init__.py") == set(ugmm.__all__)
    assert dir(ugmm) == sorted(ugmm.__all__)


@pytest.mark.parametrize("path", PUBLIC, ids=dotted)
def test_what_is_public_is_named(path):
    defined = {
        node.name
        for node in body(path)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    names = said(path)
    assert defined <= set(names or ())
    assert len(names or ()) == len(set(names or ()))


@pytest.mark.parametrize("path", [path for path in FACES if checked(path)], ids=dotted)
def test_type_checkers_see_what_is_loaded_on_use(path):
    rest = set(said(path)) - checked(path)
    made = {getattr(node.targets[0], "id", "") for node in body(path) if type(node) is ast.Assign}
    typed = {node.target.id for node in body(path) if isinstance(node, ast.AnnAssign)}
    assert rest <= imported(body(path)) | made | typed


@pytest.mark.parametrize("path", [path for path in PUBLIC if said(path)], ids=dotted)
def test_what_is_named_is_there(path):
    module = importlib.import_module(dotted(path))
    for name in said(path):
        assert getattr(module, name) is not None
        assert name in dir(module)
