"""Sphinx extension: docstrings are plain text, as they read in an editor; what reStructuredText would take for markup is escaped."""

import re

CODE = re.compile(r"(`[^`]*`)")
SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Notes?|Examples?):$")
ITEM = re.compile(r"\s*(-|\d+\.) ")
LAID_OUT = re.compile(r"\s|\\\|")
MARKUP = re.compile(r"(\\|\*|\||(?<=\w)_(?!\w))")


def escape(app, what, name, obj, options, lines):
    """Escape asterisks, bars, backslashes and underscores at the end of a word, outside of code."""
    for i, line in enumerate(lines):
        parts = CODE.split(line)
        lines[i] = "".join(p if p.startswith("`") else MARKUP.sub(r"\\\1", p) for p in parts)
    keep_lines(lines)
    join_returns(lines)


def keep_lines(lines):
    """Keep the line breaks of what is laid out by hand: formulas, tables, and names with what they mean beside them."""
    start = 0
    for end in [i for i, line in enumerate([*lines, ""]) if not line.strip() or SECTION.match(line)]:
        block = lines[start:end]
        inside = start > 0 and SECTION.match(lines[start - 1])
        if block and not inside and not ITEM.match(block[0]) and any(LAID_OUT.match(x) for x in block):
            indent = "    " if block[0].startswith(" ") else ""
            hanging = [x.startswith(" ") and not indent for x in block]
            lines[start:end] = [("  " if h else f"{indent}| ") + x.strip() for x, h in zip(block, hanging, strict=True)]
        start = end + 1


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
    words = " ".join(line.strip().removeprefix("| ") for line in lines[start + 1 : end])
    lines[start:end] = [f":returns: {words}", ""] if end == len(lines) else [f":returns: {words}"]


def setup(app):
    """Register the step, before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", escape, priority=100)
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
