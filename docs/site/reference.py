"""Sphinx extension: docstrings are plain text, as they read in an editor; what reStructuredText would take for markup is escaped."""

import re

CODE = re.compile(r"(`[^`]*`)")
MARKUP = re.compile(r"(\\|\*|\||(?<=\w)_(?!\w))")


def escape(app, what, name, obj, options, lines):
    """Escape asterisks, bars, backslashes and underscores at the end of a word, outside of code."""
    for i, line in enumerate(lines):
        parts = CODE.split(line)
        lines[i] = "".join(p if p.startswith("`") else MARKUP.sub(r"\\\1", p) for p in parts)
    keep_lines(lines)
    join_returns(lines)


def keep_lines(lines):
    """Keep the line breaks of an indented block that stands between blank lines, as a formula does."""
    for i, line in enumerate(lines):
        after_blank = i > 0 and (not lines[i - 1].strip() or lines[i - 1].lstrip().startswith("| "))
        if line.startswith("    ") and after_blank and not line.lstrip().startswith("| "):
            lines[i] = f"    | {line.strip()}"


def skip_fields(app, what, name, obj, skip, options):
    """Leave out the fields of a NamedTuple: its docstring has them."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


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
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
