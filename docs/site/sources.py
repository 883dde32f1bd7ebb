"""What the site is built from: copies of the project's pages and of the files they link to, and pages made of them."""

import json
import os
import re
import shutil
from pathlib import Path

import yaml
from explore import explore_page

from omac.schema import LEVELS, MAPS

# every file that a page may link to; raw data and what a run by hand writes are not among them
FILES = [
    "*.md", "*.yaml", "*.toml", "*.cff", "*.lock", "*.txt", "*.yml", "Makefile", "LICENSE", ".pre-commit-config.yaml",
    ".github/workflows/*", "benchmarks/*", "docs/site/*.txt", "docs/**/*.md", "examples/*.py", "figures/*", "notebooks/*.ipynb", "omac/**/*.py", "tests/*.py",
    "data/results.csv", "data/quick/*.csv", "data/paper/*", "data/cards/*.csv", "data/digests/*.txt", "data/weights/*.csv",
]  # fmt: skip
TITLES = {  # of the tables that the notebooks write
    "table1": "Table 1: less data",
    "table2": "Table 2: settings",
    "table3": "Table 3: maps",
    "table4": "Table 4: all data sets",
    "elsewhere": "Third-party results",
    "comparison": "Interquartile means",
    "snapshots": "Scores by snapshot",
    "sensitivity": "Reward and bootstrap",
    "verdict": "The paper's claims",
}
CONTENTS = {  # the sidebar: caption, pages
    "Start": ["docs/index", "docs/install"],
    "Notebooks": ["notebooks/*"],
    "Results": [
        "docs/results",
        "docs/tuning",
        "docs/verdict",
        "docs/explore",
        "docs/figures",
        "docs/tables",
        "docs/steps",
    ],
    "Method and data": ["docs/equations", "docs/deviations", "docs/data", "docs/behaviour", "docs/starcraft"],
    "Work with it": [
        *("docs/add_an_algorithm", "docs/design", "api/index", "docs/cluster", "docs/speed", "docs/reliability"),
        *("CONTRIBUTING", "CHANGELOG"),
    ],
}


def stage(root, folder):
    """Copy the project's pages and files into `folder`, and write the pages that are made of them."""
    for pattern in FILES:
        for path in root.glob(pattern):
            if path.is_file():
                copy = folder / path.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
    origins = made_by(yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8")))
    complete_tables(folder, origins)
    write_reference(folder)
    (folder / "docs" / "tables.md").write_text(tables_page(folder), encoding="utf-8")
    (folder / "docs" / "figures.md").write_text(figures_page(folder, origins), encoding="utf-8")
    (folder / "docs" / "explore.md").write_text(explore_page(root, MAPS, LEVELS), encoding="utf-8")
    for page in list(folder.rglob("*.md")):
        text = re.sub(
            r"(?<=\d) ± (?=\d)", "\u00a0±\u00a0", page.read_text(encoding="utf-8")
        )  # one word on narrow screens
        page.write_text(link_folders(text, page, folder), encoding="utf-8")
    for notebook in (folder / "notebooks").glob("*.ipynb"):
        notebook.write_text(pass_on_alt_texts(notebook.read_text(encoding="utf-8")), encoding="utf-8")
    readme = folder / "README.md"
    text = re.sub(r"^\[!\[.*\n", "", readme.read_text(encoding="utf-8"), flags=re.M)  # badges are fetched
    listed = {page for pages in CONTENTS.values() for page in pages}
    others = {p.relative_to(folder).with_suffix("").as_posix() for p in (folder / "docs").glob("*.md")} - listed
    sidebar = {**CONTENTS, **({"More": sorted(others)} if others else {})}
    readme.write_text(text + "".join(contents(caption, pages) for caption, pages in sidebar.items()), encoding="utf-8")


def pass_on_alt_texts(text):
    """Repeat the alternative texts of a notebook's pictures where MyST looks for them, in the cells' metadata."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        said = [
            about["alt"] for x in cell.get("outputs", []) for about in x.get("metadata", {}).values() if "alt" in about
        ]
        if said:
            cell["metadata"]["mystnb"] = {"image": {"alt": said[-1]}}
    return json.dumps(notebook)


def contents(caption, pages):
    """Return the part of the sidebar under one caption."""
    glob = ":glob:\n" if any("*" in p for p in pages) else ""
    return "\n```{toctree}\n:hidden:\n:titlesonly:\n:caption: " + caption + f"\n{glob}\n" + "\n".join(pages) + "\n```\n"


def made_by(pipeline):
    """Read from dvc.yaml what made each file: {path: (stage's command, its inputs)}."""
    origins = {}
    for stage in pipeline["stages"].values():
        for out in stage.get("outs", []):
            (path,) = out if isinstance(out, dict) else [out]
            origins[path] = (stage["cmd"], stage["deps"])
    return origins


def origin_line(path, origins, folder):
    """Return the sentence that links a figure or table with the code and the rows that made it, or ""."""
    if path not in origins:
        return ""
    command, inputs = origins[path]
    here = Path(path).parent
    named = [x for x in inputs if not x.startswith("build/")]
    links = [f"[{x}]({os.path.relpath(x, here)})" if (folder / x).is_file() else f"`{x}`" for x in named]
    return f"Made by `{command}` from {', '.join(links)}."


def complete_tables(folder, origins):
    """Give every generated table a heading, where it has none, and the links to what made it."""
    for path in [*(folder / "figures").glob("*.md"), *(folder / "docs" / "_generated").glob("*.md")]:
        name, text = path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
        head = "" if text.startswith("# ") else f"# {TITLES.get(path.stem, path.stem)}\n\n"
        path.write_text(f"{head}{text}\n\n{origin_line(name, origins, folder)}\n", encoding="utf-8")


def tables_page(folder):
    """Return the page that lists all generated tables."""
    files = [
        *(folder / "docs" / "_generated").glob("*.md"),
        *(folder / "figures").glob("*.md"),
        folder / "benchmarks/results.md",
    ]
    pages = "\n".join(f"/{p.relative_to(folder).with_suffix('').as_posix()}" for p in sorted(files))
    return f"# Tables\n\nEach table says at its end what made it.\n\n```{{toctree}}\n:titlesonly:\n\n{pages}\n```\n"


def figures_page(folder, origins):
    """Return the page that shows all figures of the study, each with its vector file, notebook and rows."""
    text = "# Figures\n\nEach figure with the notebook that explains it and the rows it was drawn from.\n"
    said = figure_texts(folder)
    drawn = [x for x in origins if x.startswith("figures/") and x.endswith(".png") and (folder / x).is_file()]
    for path in sorted(drawn):
        name = Path(path).stem
        vector = f" · [SVG](../{path[:-4]}.svg)" if (folder / path).with_suffix(".svg").exists() else ""
        alt = said.get(name, f"Figure {name}, explained in its notebook").replace("[", "(").replace("]", ")")
        text += f"\n## {name}\n\n[![{alt}](../{path})](../{path})\n\n{alt}.\n\n"
        text += f"[PNG](../{path}){vector}. {origin_line(path, origins, folder).replace('](../', '](../')}\n"
    return text


def figure_texts(folder):
    """Read what the notebooks' alternative texts say of the figures that they save: {name: text}."""
    found = {}
    for notebook in (folder / "notebooks").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            for name, text in re.findall(r"\"([\w-]+)(?:\.png)?\"\)+,\s+alt=\"([^\"]+)\"", source):
                found[name] = text
    return found


def write_reference(folder):
    """Write api/: a page for each package of omac, with all its modules."""
    api = folder / "api"
    api.mkdir()
    packages = {}
    for path in sorted((folder / "omac").rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] != "__main__":
            packages.setdefault(parts[1] if len(parts) > 2 else "omac", []).append(path.relative_to(folder))
    for package, files in packages.items():
        text = f"# `omac.{package}`\n" if package != "omac" else "# `omac`: modules at the top\n"
        for path in files:
            parts = [p for p in path.with_suffix("").parts if p != "__init__"]
            name = ".".join(parts)
            text += f"\n## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n\nSource: [`{path}`](../{path})\n"
        (api / f"{package}.md").write_text(text, encoding="utf-8")
    names = "\n".join(sorted(packages))
    intro = "What the docstrings say, package by package. [Design](../docs/design.md) has the layers."
    (api / "index.md").write_text(
        f"# API reference\n\n{intro}\n\n```{{toctree}}\n:titlesonly:\n\n{names}\n```\n", encoding="utf-8"
    )


def link_folders(text, page, folder):
    """Let links to folders lead to a page: of a package of omac the reference, else a list of the folder's files."""

    def to_page(match):
        target = Path(os.path.normpath(page.parent / match[1]))
        if not target.is_dir():
            return match[0]
        name = target.relative_to(folder)
        if target.parent == folder / "omac":
            leads_to = folder / "api" / f"{target.name}.md"
        else:
            leads_to = folder / "folders" / f"{'-'.join(name.parts)}.md"
            files = sorted(x.name for x in target.iterdir() if x.is_file())
            listed = "\n".join(f"- [{x}](../{name.as_posix()}/{x})" for x in files)
            leads_to.parent.mkdir(exist_ok=True)
            leads_to.write_text(f"---\norphan: true\n---\n\n# {name.as_posix()}\n\n{listed}\n", encoding="utf-8")
        return f"]({os.path.relpath(leads_to, page.parent)})"

    return re.sub(r"\]\(([\w./]+)\)", to_page, text)
