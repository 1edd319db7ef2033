"""How docstrings are shown.

What they put between backticks is a link where it is documented here, else plain code; a base that
every class has is not told.
"""

import importlib
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: a build may begin with any page)

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def setup(app: Sphinx) -> dict[str, Any]:
    """Make such names the default role, and resolve those that are documented nowhere."""
    app.connect("missing-reference", leave_as_code)
    app.connect("doctree-read", drop_plain_bases)
    app.config.default_role = "py:obj"
    return {"parallel_read_safe": True}


def leave_as_code(
    _app: Sphinx, _env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.TextElement | None:
    """Return the plain name, unless it claims to be of this package and is not there."""
    if node["refdomain"] != "py":
        return None
    name = node["reftarget"]
    if node["reftype"] == "obj" and not name.startswith("ugmm."):
        return content
    return content if name.startswith("ugmm.") and exists(name) else None


def drop_plain_bases(_app: Sphinx, page: nodes.document) -> None:
    """Take out the lines that say of a class that its base is `object`."""
    for line in list(page.findall(nodes.paragraph)):
        if line.astext() == "Bases: object":
            line.parent.remove(line)


def exists(name: str) -> bool:
    """Tell whether a dotted name can be imported, or is an attribute of what can."""
    module, _, rest = name.partition(".")
    found = importlib.import_module(module)
    for part in rest.split("."):
        module = f"{module}.{part}"
        try:
            found = importlib.import_module(module)
        except ImportError:
            if not hasattr(found, part):
                return part in getattr(found, "__annotations__", {})
            found = getattr(found, part)
    return True
