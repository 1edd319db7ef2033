"""How the site is made of these pages: `make docs`.

Its root is the repository, and not this folder, so that pages of measurements that lie beside what
made them (`benchmarks/`, `experiments/`) belong to it, and a relative link is the same here and
where the files are read as they are. Sphinx reads docstrings; Zensical, which was weighed, has no
reader of its own and is, by its number, not yet 1.0.
"""

import sys
from pathlib import Path

import ugmm

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "ugmm"
author = "The ugmm authors"
project_copyright = author
release = version = ugmm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",
    "code_names",
    "command_line",
    "configuration_keys",
]
root_doc = "docs/index"
include_patterns = ["docs/**", "benchmarks/*.md", "experiments/RESULTS.md"]
exclude_patterns = [".*", "build", "docs/extensions", "runs", "src", "tests", "wandb"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4  # the anchors that GitHub makes
myst_dmath_double_inline = True

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = True
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Reference", "Shapes"]
# Names of other packages are not looked up, which would need a network; those of this one are.
nitpick_ignore_regex = [("py:.*", r"(?!ugmm\b).*")]

copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "ugmm"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["redirect"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}
