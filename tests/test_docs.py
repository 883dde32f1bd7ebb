"""README and docs/ keep their word: tables are what the code writes, numbers stand in a table, links lead somewhere."""

import ast
import importlib
import json
import re
import subprocess
import tomllib
from dataclasses import fields
from functools import cache

import pandas as pd
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from omac.analysis.choice import chosen, read_choosing
from omac.analysis.docs_tables import DATA, GENERATED, docs_tables, level_matrix, score_matrix
from omac.analysis.results import final_table, markdown
from omac.cli import main
from omac.config.hyper import Hyper, load_params, settings
from omac.datasets.cards import overview
from omac.files import read_rows
from omac.paths import ROOT
from omac.schema import CARDS

README = (ROOT / "README.md").read_text()
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md"))
WRITTEN = [p for p in PAGES if p.parent != GENERATED]  # by hand
FENCE, SPAN = r"^ *```.*?^ *```$", r"`[^`\n]+`"


def study():
    return read_rows(DATA / "results.csv")


@cache
def tables():
    return docs_tables(overview(CARDS))


def test_the_generated_tables_are_what_the_code_writes_now():
    made = tables()
    assert {p.name for p in GENERATED.iterdir()} == set(made)
    for name, text in made.items():
        assert (GENERATED / name).read_text() == text, f"docs/_generated/{name} is stale: run `python -m omac tables`"


def test_the_stage_of_the_tables_has_all_of_them_as_outs():
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["tables"]
    outs = {path for out in stage["outs"] for path in out}
    assert outs == {f"docs/_generated/{name}" for name in tables()}
    assert all((ROOT / dep).exists() or dep.startswith("build/") for dep in stage["deps"])


def test_the_readme_fits_200_lines_and_12_kb():
    lines = README.splitlines()
    assert len(lines) <= 200 and len(README.encode()) <= 12_000
    long = [line for line in lines if len(line) > 160 and not line.startswith("|")]
    assert not long


def test_the_readmes_matrix_is_that_of_the_committed_rows():
    assert markdown(score_matrix(study())) in README, "run `python -m omac tables`: it prints the matrix"


def test_the_readmes_levels_are_those_of_the_cards():
    assert markdown(level_matrix()) in README, "run `python -m omac tables`: it prints the matrix"


def found_in_the_readme():
    """The numbers of what was found, by name, from the committed rows."""
    rows = study()
    rows = rows[(rows["map"] == "6h_vs_8z") & (rows["variant"].fillna("default") == "default")]
    last = rows[rows["kind"] == "final"]
    means = last.groupby(["level", "algorithm", "temperature"])["return_mean"].mean()
    late = read_rows(DATA / "register" / "smax-6h_vs_8z-medium-100-omac-late.csv")
    late = late[late["kind"] == "final"].groupby("temperature")[["return_mean", "q_tot_start"]].mean()
    found = {"steps": settings(load_params(), "laptop", "6h_vs_8z", "medium")[0].steps, "late": late, "last": last}
    for level in ("medium", "poor"):
        omac, icq, bc = (means[level, name] for name in ("omac", "icq", "bc"))
        found[level] = {"omac": omac, "icq": icq, "bc": bc["published"], "gain": omac["published"] - bc["published"]}
    return found


def test_what_the_readme_says_was_found_follows_from_the_rows():
    found, flat = found_in_the_readme(), " ".join(README.split())
    medium, poor = found["medium"], found["poor"]
    spans = [
        f"{x['omac'].min():.2f} to {x['omac'].max():.2f} on {level}"
        for level, x in (("medium", medium), ("poor", poor))
    ]
    assert f"policies of OMAC return {spans[0]} and {spans[1]}, by temperature alone" in flat
    assert f"{medium['gain']:.2f} points ahead of it on medium and {poor['gain']:.2f} on poor" in flat
    taken = chosen(read_choosing())
    assert (taken["omac"], taken["icq"]) == ("std_1", "published") and "(OMAC: std 1, ICQ: the published one)" in flat
    tuned = [(x["omac"][taken["omac"]], x["icq"][taken["icq"]], x["bc"]) for x in (poor, medium)]
    on_poor, on_medium = [[f"{score:.2f}" for score in scores] for scores in tuned]
    assert "OMAC returns {} on poor, ICQ {} and BC {}".format(*on_poor) in flat
    assert "on medium OMAC {}, ICQ {} and BC {}".format(*on_medium) in flat
    assert all(min(omac, icq) > bc for omac, icq, bc in tuned)
    best = [f"{x['omac'].max():.2f} and {x['icq'].max():.2f}" for x in (poor, medium)]
    assert f"OMAC leads ICQ on neither ({'; '.join(best)})" in flat
    assert all(x["omac"].max() < x["icq"].max() for x in (medium, poor))
    late, last = found["late"], found["last"]
    assert f"Trained for 15000 steps instead of {found['steps']}" in flat and late["q_tot_start"].iloc[0] > 20
    assert f"promise {late['q_tot_start'].iloc[0]:.2f} at the start of a battle" in flat
    now, then = medium["omac"]["beta_15"], late.loc["beta_15", "return_mean"]
    assert f"Beta 15 then returns {then:.2f} instead of {now:.2f}." in flat and then < now
    for level in ("medium", "poor"):
        share = last[(last["level"] == level) & (last["algorithm"] == "omac") & (last["temperature"] == "published")]
        assert share["weight_share"].mean() > 0.98  # the weights hardly leave 1
    fought = last[(last["algorithm"] == "omac") & (last["temperature"] == "published") & (last["level"] == "poor")]
    said = f"over {fought['seed'].nunique()} seeds, {int(fought['episodes'].iloc[0])} battles per seed; 1000 episodes"
    data = study()
    assert said in README and set(data.loc[(data["kind"] == "data") & (data["ratio"] == 100), "episodes"]) == {1000}


def test_the_readme_names_the_schedule_and_temperatures_of_the_study():
    hyper = settings(load_params(), "laptop", "6h_vs_8z")[0]
    assert f"schedule `{hyper.schedule}`" in README
    assert (hyper.beta, hyper.beta_policy) == (Hyper().beta, Hyper().beta_policy)  # published


def test_the_readme_says_what_make_quick_is_expected_to_print():
    table = final_table(read_rows(DATA / "quick" / "results.csv")).set_index(["algorithm", "temperature"])["return"]
    said = ", ".join(f"{name} {table[name, 'published']}" for name in ("BC", "OMAC"))
    assert f"| {said}; [reference](docs/_generated/quick.md) |" in README


def test_the_readmes_minutes_of_a_cell_are_those_of_the_cells_that_ran():
    seconds = pd.read_csv(ROOT / "benchmarks" / "cells.csv")["seconds"]
    if seconds.empty:
        pytest.skip("no cell has been timed")
    assert f"{seconds.min() / 60:.0f} to {seconds.max() / 60:.0f} minutes each" in README


def test_the_readme_counts_the_claims_and_notebooks_that_there_are():
    claims = len(pd.read_csv(DATA / "paper" / "claims.csv"))
    assert f"| {claims} claims of the text |" in README
    assert len(list((ROOT / "notebooks").glob("*.ipynb"))) == 10 and "Ten notebooks" in README


def test_every_decimal_number_of_a_page_stands_in_a_table_or_is_a_setting():
    """A number that no longer stands in any table, after new rows, is stale."""
    folders = [GENERATED, ROOT / "figures", ROOT / "benchmarks"]
    known = "\n".join(p.read_text() for folder in folders for p in folder.glob("*.md"))
    known += (ROOT / "params.yaml").read_text() + level_matrix().to_string()
    known = set(re.findall(r"\d+\.\d+", known)) | {
        "3.11",
        "3.12",
        "3.13",
        "4.10",
    }  # versions of Python and StarCraft II
    for path in [ROOT / "README.md", *WRITTEN]:
        text = re.sub(FENCE, "", path.read_text(), flags=re.M | re.S)
        text = re.sub(r"\(http\S+\)|(?:[Ss]ections?|Appendix A|appendix|A)[ .][\d.]+|^\| [\d.]+:", "", text, flags=re.M)
        unknown = set(re.findall(r"\d+\.\d+", text)) - known
        assert not unknown, f"{path.name}: {sorted(unknown)} stand in no generated table"


def test_the_badges_are_true():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    licence, needs = project["license"], SpecifierSet(project["requires-python"])
    versions = [f"3.{x}" for x in range(8, 20) if needs.contains(f"3.{x}.1")]
    assert f"[![Licence: {licence}](https://img.shields.io/badge/licence-{licence}-blue)](LICENSE)" in README
    badge = f"https://img.shields.io/badge/python-{'%20%7C%20'.join(versions)}-blue"
    assert f"[![Python: {', '.join(versions)}]({badge})](pyproject.toml)" in README
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_equation_table_ticks_tests_and_names_code_that_exist():
    text = (ROOT / "docs" / "equations.md").read_text()
    places = {
        n.name: f.name
        for f in (ROOT / "tests").glob("test_*.py")
        for n in ast.walk(ast.parse(f.read_text()))
        if isinstance(n, ast.FunctionDef)
    }
    ticked = re.findall(r"^\|.*✓ \[`(test_\w+)`\]\(\.\./tests/(\w+\.py)\) \|$", text, re.M)
    assert len(ticked) == text.count("✓") >= 28
    for test, file in ticked:
        assert places.get(test) == file, f"{test} is not in tests/{file}"
    for name in ("Eq. 1", "Eq. 2", "Eq. 3", "Eq. 4", "Eq. 5", "Eq. 6", "Eq. 7", "Eq. 8", "Algorithm 1", "Theorem 1"):
        assert re.search(rf"^\| {re.escape(name)}.*✓", text, re.M), name
    for module, name, path in re.findall(r"\[`([\w.]+)\.(\w+)`\]\(\.\./omac/([\w/]+\.py)\)", text):
        if name != "py":
            assert f"{module.replace('.', '/')}.py" == path and hasattr(importlib.import_module(f"omac.{module}"), name)


def test_the_register_has_every_open_point_and_settings_that_exist():
    text = (ROOT / "docs" / "deviations.md").read_text()
    entries = re.split(r"^## (\d+)\. .+$", text, flags=re.M)
    assert [int(n) for n in entries[1::2]] == list(range(1, 35))
    known = {f.name for f in fields(Hyper)}
    for number, entry in zip(entries[1::2], entries[2::2], strict=True):
        for part in ("Open point", "Default", "Reason"):
            assert re.search(rf"^- \*\*{part}:\*\* .+$", entry, re.M), f"entry {number} has no {part}"
        (setting,) = re.findall(r"^- \*\*Setting:\*\* (.+)$", entry, re.M)
        named = re.findall(r"`(\w+)`", setting)
        assert (setting == "none") != bool(named) and set(named) <= known, f"entry {number}: {setting}"


def linked_texts():
    """Every text whose links are checked, (name, its folder, text): README, docs, CONTRIBUTING, notebooks."""
    for path in [ROOT / "README.md", *ROOT.glob("CONTRIBUTING.md"), *PAGES]:
        yield str(path.relative_to(ROOT)), path.parent, path.read_text()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        yield str(path.relative_to(ROOT)), path.parent, text


def links(text):
    """The targets of a Markdown text's links and images, code aside."""
    text = re.sub(FENCE, "", text, flags=re.M | re.S)
    text = re.sub(r"\$\$.+?\$\$", "", text, flags=re.S)
    yield from re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    text = re.sub(SPAN, "code", text)
    while inner := re.findall(r"!?\[[^\[\]]*\]\(([^()\s]+)\)", text):  # an image may be the text of a link
        yield from inner
        text = re.sub(r"!?\[[^\[\]]*\]\(([^()\s]+)\)", "link", text)


def anchors(path):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    text = re.sub(FENCE, "", path.read_text(), flags=re.M | re.S)
    made = []
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        made.append(slug + (f"-{made.count(slug)}" if slug in made else ""))
    return set(made)


def test_links_are_found_in_images_code_and_anchors(tmp_path):
    text = '[![a](b.svg)](c.md) `[x](no.md)` ![d](e.png) <img src="f.gif"> [g](h.md#i-j)\n```\n[k](no.md)\n```\n'
    assert sorted(links(text)) == ["b.svg", "c.md", "e.png", "f.gif", "h.md#i-j"]
    (tmp_path / "x.md").write_text("# A b: c\n\n## 1. D-e\n\n## 1. D-e\n")
    assert anchors(tmp_path / "x.md") == {"a-b-c", "1-d-e", "1-d-e-1"}


def test_every_relative_link_and_image_leads_to_a_file_of_git_and_an_anchor():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    if not any(listed):
        pytest.skip("not a git checkout")
    files = {ROOT / name for name in listed if name}
    files |= {parent for f in files for parent in f.parents}
    dead, seen = [], 0
    for name, folder, text in linked_texts():
        for target in links(text):
            if re.match(r"[a-z]+:", target):
                continue
            seen += 1
            place, _, anchor = target.partition("#")
            path = (folder / place).resolve() if place else ROOT / name
            if path not in files or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
                dead.append(f"{name}: {target}")
    assert not dead and seen > 100


def test_every_picture_of_readme_and_docs_has_an_alternative_text():
    for name, _, text in linked_texts():
        if not name.startswith("notebooks"):
            assert not re.findall(r"!\[\s*\]\(", text), name
            assert all(re.search(r"alt=\"[^\"]{20,}\"", tag) for tag in re.findall(r"<img[^>]+>", text)), name


def test_every_command_of_readme_and_docs_is_there(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = set(re.findall(r"^    (\w+)(?: |$)", capsys.readouterr().out, re.M))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    template = json.loads((ROOT / "notebooks" / "03_train.ipynb").read_text())["cells"]
    (cell,) = [c for c in template if c["metadata"].get("tags") == ["parameters"]]
    parameters = set(re.findall(r"^(\w+) = ", "".join(cell["source"]), re.M))
    for path in [ROOT / "README.md", *WRITTEN]:
        code = "\n".join(re.findall(f"{FENCE}|{SPAN}", path.read_text(), re.M | re.S))
        assert set(re.findall(r"python -m omac (\w+)", code)) <= commands, path.name
        assert set(re.findall(r"\bmake (?:\w+=\S+ )*([a-z]+)", code)) <= targets, path.name
        assert set(re.findall(r" -p (\w+)", code)) <= parameters, path.name
