"""Sphinx extension: a link to a file of the project leads to a page that shows it, as it was when the site was built."""

import os
from pathlib import Path

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.addnodes import download_reference

FOLDER = "files"  # of the site
SHOWN = {".csv", ".txt", ".py", ".yaml", ".yml", ".toml", ".cff", ".lock", ""}  # the others are copied as they are
LONGEST = 200_000  # characters; longer texts are copied, not coloured
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title><style>body {{ margin: 1rem; font-size: .85rem }} pre {{ overflow-x: auto }} {style}</style></head>
<body><p><a href="{root}index.html">OMAC companion</a> / <code>{name}</code></p>
{code}
</body></html>
"""


def is_shown(path):
    """Whether a file gets a page of its own."""
    return path.suffix in SHOWN and path.stat().st_size <= LONGEST


def address(source, name):
    """Return where the site keeps a file of the project."""
    return f"{FOLDER}/{name}.html" if is_shown(Path(source) / name) else f"{FOLDER}/{name}"


def link_files(app, doctree):
    """Turn what MyST takes for downloads into links to the pages of the files, and remember which are needed."""
    source, page = app.srcdir, app.env.docname
    for node in list(doctree.findall(download_reference)):
        target = os.path.normpath(os.path.join(os.path.dirname(page), node["reftarget"]))
        up = os.path.relpath(address(source, target), os.path.dirname(page) or ".")
        link = nodes.reference("", "", *node.children, internal=True, refuri=up)
        node.replace_self(link)
        app.env.metadata[page].setdefault("files", []).append(target)


def write_files(app, error):
    """Write the page of every file that is linked."""
    if error:
        return
    formatter = HtmlFormatter(linenos=False, lineanchors="L", style="friendly")
    wanted = {name for about in app.env.metadata.values() for name in about.get("files", [])}
    for name in sorted(wanted):
        path, page = Path(app.srcdir) / name, Path(app.outdir) / address(app.srcdir, name)
        page.parent.mkdir(parents=True, exist_ok=True)
        if not is_shown(path):
            page.write_bytes(path.read_bytes())
            continue
        try:
            lexer = get_lexer_for_filename(path.name)
        except ClassNotFound:
            lexer = TextLexer()
        code = highlight(path.read_text(encoding="utf-8"), lexer, formatter)
        root = "../" * (len(Path(name).parts))
        style = formatter.get_style_defs(".highlight")
        page.write_text(PAGE.format(name=name, root=root, code=code, style=style), encoding="utf-8")


def setup(app):
    """Register the two steps; the first before Sphinx collects downloads."""
    app.connect("doctree-read", link_files, priority=100)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
