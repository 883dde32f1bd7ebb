"""Sphinx extension: docstrings are plain text, as they read in an editor; what reStructuredText would take for markup is escaped."""

import re

CODE = re.compile(r"(`[^`]*`)")
MARKUP = re.compile(r"(\\|\*|\||(?<=\w)_(?!\w))")


def escape(app, what, name, obj, options, lines):
    """Escape asterisks, bars, backslashes and underscores at the end of a word, outside of code."""
    for i, line in enumerate(lines):
        parts = CODE.split(line)
        lines[i] = "".join(p if p.startswith("`") else MARKUP.sub(r"\\\1", p) for p in parts)
    join_returns(lines)


def join_returns(lines):
    """Make one field of the section Returns: napoleon would take what stands before its first colon for a type."""
    if "Returns:" not in lines:
        return
    start = lines.index("Returns:")
    end = start + 1
    while end < len(lines) and (lines[end].startswith(" ") or not lines[end]):
        end += 1
    words = " ".join(line.strip() for line in lines[start + 1 : end])
    lines[start:end] = [f":returns: {words}", ""] if end == len(lines) else [f":returns: {words}"]


def setup(app):
    """Register the step, before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", escape, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
