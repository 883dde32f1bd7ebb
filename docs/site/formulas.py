"""Sphinx extension: a displayed formula reaches MathJax as it is written, as in JupyterLab and on GitHub.

Sphinx would wrap a formula of several lines into an environment that allows no `\\tag`, and show an error in its place.
"""

from docutils import nodes


def keep_formulas(app, doctree):
    """Put the delimiters around every displayed formula here, and tell Sphinx to leave it alone."""
    for node in doctree.findall(nodes.math_block):
        if not node.get("no-wrap"):
            formula = rf"\[{node.astext()}\]"
            node.rawsource, node.children = formula, []
            node.append(nodes.Text(formula))
            node["no-wrap"] = node["nowrap"] = True


def setup(app):
    """Register the step."""
    app.connect("doctree-read", keep_formulas)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
