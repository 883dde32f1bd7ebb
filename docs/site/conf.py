"""Sphinx's settings. `make site` builds; see build.py beside this file for what is built from what."""

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
# no compiler, no accelerator, no bars: the reference only imports the package
os.environ.update(JAX_PLATFORMS="cpu", OMAC_PROGRESS="0")

project = "OMAC companion"
author = "The OMAC companion authors"
project_copyright = author
root_doc = "README"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "reference",  # the three modules beside this file
    "project_files",
    "formulas",
]

# pages
myst_enable_extensions = ["dollarmath", "amsmath", "html_image", "colon_fence"]
myst_heading_anchors = 4  # as GitHub names them: one link serves both
myst_dmath_double_inline = True
nb_execution_mode = "off"  # the committed outputs are shown
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables in outputs

# the API reference
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"
highlight_language = "text"

# HTML
html_theme = "furo"
html_title = "OMAC companion"
html_static_path = [
    "static",
    # one file, with its fonts as outlines: formulas need no network
    str(
        Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
        / "static"
        / "mathjax"
        / "tex-svg-full.js"
    ),
]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
mathjax_path = "tex-svg-full.js"
