"""The site: what it is built from, its links, the page to touch; and, where its packages are installed, the built pages."""

import csv
import importlib.util
import json
import queue
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from packaging.requirements import Requirement

from omac.paths import ROOT
from omac.schema import LEVELS, MAPS

SOURCES = ROOT / "docs" / "site"
PINNED = r"^([\w.-]+)==([\w.]+)"


@pytest.fixture
def site_module(monkeypatch):
    """Import a module of docs/site by name."""
    monkeypatch.syspath_prepend(str(SOURCES))

    def load(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


# --- links


@pytest.fixture
def pages(tmp_path):
    """A site of two pages and a picture."""
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="sub/b.html#there">b</a><a href="http://x">x</a>')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<p id="there"><a href="../a.html">a</a><a href="#there">here</a></p>')
    return tmp_path


def test_a_site_whose_links_lead_somewhere_has_no_dead_link(site_module, pages):
    assert site_module("links").dead_links(pages) == []


@pytest.mark.parametrize("link", ["no.html", "sub/b.html#nowhere", "../outside.html", "sub"])
def test_a_link_to_no_file_no_element_or_out_of_the_site_is_dead(site_module, pages, link):
    (pages.parent / "outside.html").write_text("")
    (pages / "c.html").write_text(f'<a href="{link}">c</a>')
    assert site_module("links").dead_links(pages) == [f"c.html: dead link: {link}"]


def test_pictures_that_pages_show_with_html_of_their_own_come_along(site_module, pages, tmp_path_factory):
    sources = tmp_path_factory.mktemp("sources")
    (sources / "figures").mkdir()
    (sources / "figures" / "a.gif").write_bytes(b"GIF")
    (pages / "c.html").write_text('<img src="figures/a.gif">')
    site_module("links").add_images(pages, sources)
    assert (pages / "figures" / "a.gif").read_bytes() == b"GIF" and site_module("links").dead_links(pages) == []


# --- pages


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """The sources of the site, as `make site` lays them out."""
    folder = tmp_path_factory.mktemp("staged")
    words = f"import sys; sys.path.insert(0, {str(SOURCES)!r}); from pathlib import Path; from sources import stage"
    subprocess.run([sys.executable, "-c", f"{words}; stage(Path({str(ROOT)!r}), Path({str(folder)!r}))"], check=True)
    return folder


def test_the_sidebar_has_every_page_once(staged):
    readme = (staged / "README.md").read_text()
    listed = [x for block in re.findall(r"```\{toctree\}(.*?)```", readme, re.S) for x in block.split() if "/" in x]
    pages = {f"docs/{p.stem}" for p in (staged / "docs").glob("*.md")}
    assert len(listed) == len(set(listed)) and pages <= set(listed)
    assert {f"docs/{p.stem}" for p in (ROOT / "docs").glob("*.md")} <= pages


def test_every_generated_table_has_a_heading_and_says_what_made_it(staged):
    tables = [*(staged / "figures").glob("*.md"), *(staged / "docs" / "_generated").glob("*.md")]
    assert tables
    for path in tables:
        text = path.read_text()
        assert text.startswith("# ") and re.search(r"^Made by `python -m omac .+` from .*\]\(.+\.$", text, re.M), path


def test_every_figure_of_the_pipeline_is_shown_with_its_notebook_and_rows(staged):
    text = (staged / "docs" / "figures.md").read_text()
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    named = [path for stage in stages for out in stage.get("outs", []) for path in out if path.endswith(".png")]
    drawn = [path for path in named if (ROOT / path).is_file()]  # not those of a notebook that waits for its first run
    assert drawn and all(f"](../{path})" in text for path in drawn)
    assert text.count("Made by `python -m omac notebook ") == len(drawn)


def test_the_reference_has_every_module(staged):
    modules = {
        ".".join(p for p in path.relative_to(ROOT).with_suffix("").parts if p != "__init__")
        for path in (ROOT / "omac").rglob("*.py")
        if path.stem != "__main__"
    }
    text = "\n".join(path.read_text() for path in (staged / "api").glob("*.md"))
    assert set(re.findall(r"^\.\. automodule:: (.+)$", text, re.M)) == modules


def test_a_link_to_a_folder_leads_to_a_page(site_module, tmp_path):
    for name in ("omac/nn", "data/cards", "docs", "api"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "cards" / "a.csv").touch()
    text = "[x](../omac/nn) [y](../data/cards) [z](other.md)"
    linked = site_module("sources").link_folders(text, tmp_path / "docs" / "page.md", tmp_path)
    assert linked == "[x](../api/nn.md) [y](../folders/data-cards.md) [z](other.md)"
    assert "[a.csv](../data/cards/a.csv)" in (tmp_path / "folders" / "data-cards.md").read_text()


def test_docstrings_are_plain_text_to_sphinx(site_module):
    lines = [
        "Weigh |x| by w_ and *all* of `a*b_`.",
        "",
        "Returns:",
        "    (w_v [K,B,n], {name: w_q}),",
        "    a pair.",
        "",
    ]
    site_module("reference").escape(None, "function", "f", None, None, lines)
    assert lines[0] == r"Weigh \|x\| by w\_ and \*all\* of `a*b_`."
    formula = ["Compute.", "", "    h = f(o)", "    w = g(h)", "", "More."]
    site_module("reference").escape(None, "class", "C", None, None, formula)
    assert formula[2:4] == ["    | h = f(o)", "    | w = g(h)"]
    table = [
        "Bound.",
        "",
        "gaps  a list",
        "      of [seeds]",
        "Returns NaN.",
        "Args:",
        "    x: a",
        "        b.",
        "",
        "- c",
        "  d",
    ]
    site_module("reference").escape(None, "function", "g", None, None, table)
    assert table[2:5] == ["| gaps  a list", "  of [seeds]", "| Returns NaN."]
    assert table[5:] == ["Args:", "    x: a", "        b.", "", "- c", "  d"]
    assert lines[2:] == [":returns: (w_v [K,B,n], {name: w_q}), a pair. ", ""]


# --- the page to touch


def rows_of(temperatures, level="good"):
    """Rows of two seeds for each temperature of OMAC."""
    about = {
        "env": "smax",
        "map": "6h_vs_8z",
        "level": level,
        "ratio": "100",
        "algorithm": "omac",
        "variant": "default",
    }
    for i, name in enumerate(temperatures):
        for seed in (0, 1):
            scores = {"return_mean": str(10 + i + seed), "win_rate": "0.5", "weight_share": str(1 - i / 10)}
            yield {**about, "kind": "final", "temperature": name, **scores}


def test_the_slider_goes_from_cloning_to_the_sharpest_policy(site_module):
    explore = site_module("explore")
    settings = {"omac": {"published": {}, "beta_5": {"beta": 5.0}, "beta_15": {"beta": 15.0}}}
    rows = explore.temperature_rows(rows_of(["beta_15", "published"]))
    (cell,) = explore.arrange(rows, settings)
    assert (cell["map"], cell["level"], cell["algorithm"]) == ("6h_vs_8z", "good", "OMAC")
    last, first = cell["points"]  # the shares of the rows fall in the order in which they were made
    assert (first["name"], first["mean"], first["std"], first["wins"], first["share"]) == (
        "published",
        11.5,
        0.5,
        0.5,
        0.9,
    )
    assert (last["name"], last["changes"], last["mean"]) == ("beta_15", "beta 15.0", 10.5)


def test_one_temperature_or_none_makes_no_slider(site_module):
    explore = site_module("explore")
    settings = {"omac": {"published": {}, "beta_5": {"beta": 5.0}}}
    assert explore.arrange(explore.temperature_rows(rows_of(["published"])), settings) == []
    without = [{k: v for k, v in row.items() if k != "temperature"} for row in rows_of(["published", "beta_5"])]
    assert explore.arrange(explore.temperature_rows(without), settings) == []


def test_the_page_to_touch_has_every_battle_and_the_slider_once_there_are_rows(site_module, tmp_path):
    explore = site_module("explore")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cards").symlink_to(ROOT / "data" / "cards")
    (tmp_path / "params.yaml").write_text("temperatures: {omac: {published: {}, beta_5: {beta: 5.0}}}\n")
    for temperatures, slider in ((["published"], False), (["published", "beta_5"], True)):
        rows = list(rows_of(temperatures))
        with open(tmp_path / "data" / "results.csv", "w") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
            file.write("# sha256 0\n")
        text = explore.explore_page(tmp_path, MAPS, LEVELS)
        assert ('id="slider"' in text) == slider
        assert all(f"../figures/replay-{m}-{level}.gif" in text for m in MAPS for level in LEVELS)
    (data,) = re.findall(r'<script type="application/json" id="rows">(.*)</script>', text)
    assert [p["name"] for p in json.loads(data)[0]["points"]] == ["published", "beta_5"]


# --- set-up


def test_the_sites_packages_are_locked_beside_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lock = dict(re.findall(PINNED, (SOURCES / "requirements.txt").read_text(), re.M))
    common = dict(re.findall(PINNED, (ROOT / "requirements.txt").read_text(), re.M))
    for line in project["site"]:
        need = Requirement(line)
        assert need.specifier.contains(lock[need.name]), f"{line} against {lock[need.name]}: run `make lock`"
    assert all(lock[name] == common[name] for name in set(lock) & set(common)), "run `make lock`"


def test_the_workflow_publishes_what_make_site_builds():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yml").read_text())
    steps = workflow["jobs"]["site"]["steps"]
    assert {"run": "make site"} in steps and re.search(r"^site: setup ", (ROOT / "Makefile").read_text(), re.M)
    (upload,) = [x for x in steps if x.get("uses", "").startswith("actions/upload-pages-artifact@")]
    assert upload["with"]["path"] == "build/site"
    assert "--extra-index-url " in (ROOT / "environment.yml").read_text()


# --- the built site


@pytest.fixture(scope="module")
def built():
    """build/site, built anew."""
    if importlib.util.find_spec("sphinx") is None or importlib.util.find_spec("myst_nb") is None:
        pytest.skip("the site's packages are not installed: `make site` installs them")
    done = subprocess.run([sys.executable, SOURCES / "build.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_dead_links_and_has_all_pages(built):
    names = [*(f"docs/{p.stem}" for p in (ROOT / "docs").glob("*.md")), "index", "README", "docs/explore", "api/nn"]
    names += [f"notebooks/{p.stem}" for p in (ROOT / "notebooks").glob("*.ipynb")]
    assert all((built / f"{name}.html").is_file() for name in names)


@pytest.mark.slow
def test_the_site_loads_nothing_from_the_network(built):
    for path in built.rglob("*.html"):
        tags = re.findall(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"([^\"]+)\"", path.read_text())
        assert not [x for x in tags if re.match(r"(?:https?:)?//", x)], path.name
    assert (built / "_static" / "tex-svg-full.js").is_file()


@pytest.mark.slow
def test_every_deviation_is_an_anchor_of_the_site(built):
    numbers = re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "deviations.md").read_text(), re.M)
    ids = re.findall(r"id=\"([^\"]+)\"", (built / "docs" / "deviations.html").read_text())
    assert numbers and all(any(x.startswith(f"{n}-") for x in ids) for n in numbers)


# --- the built site in a browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WATCH = """<!doctype html><meta charset="utf-8"><body><script>
const pages = %s, report = [];
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.src = page;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  const inner = frame.contentWindow, of = inner.document, wide = of.documentElement;
  const formulas = of.querySelectorAll(".math").length;
  if (formulas) await inner.MathJax.startup.promise;
  const shown = of.querySelectorAll("mjx-container").length;
  const wrong = [...of.querySelectorAll("[data-mml-node=merror]")].map((e) => e.getAttribute("title"));
  const lost = [...of.images].filter((e) => e.complete && !e.naturalWidth).map((e) => e.getAttribute("src"));
  const plain = [...of.images].filter((e) => !e.alt).map((e) => e.getAttribute("src"));
  report.push({page, width, formulas, shown, wrong, lost, plain, over: wide.scrollWidth - wide.clientWidth});
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of [400, 1280]) await look(page, width);
  await fetch("/report", {method: "POST", body: JSON.stringify(report)});
})();
</script>"""


@pytest.fixture(scope="module")
def looked_at(built, tmp_path_factory):
    """What a browser makes of every page at 400 and 1280 pixels: formulas, errors in them, pictures, overhang."""
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    pages = [p.relative_to(built).as_posix() for p in sorted(built.rglob("*.html"))]
    pages = [page for page in pages if not page.startswith(("files/", "_modules/"))]
    reports, watch = queue.Queue(), (WATCH % json.dumps([f"/{page}" for page in pages])).encode()

    class Server(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/watch":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            return self.wfile.write(watch)

        def do_POST(self):
            reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=built)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]
        address = f"http://127.0.0.1:{server.server_port}/watch"
        browser = subprocess.Popen([BROWSER, *words, "--remote-debugging-port=0", address], stderr=subprocess.DEVNULL)
        try:
            report = reports.get(timeout=300)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    assert {x["page"] for x in report} == {f"/{page}" for page in pages}
    return report


@pytest.mark.slow
def test_every_formula_of_the_site_renders_in_a_browser(looked_at):
    assert sum(x["formulas"] for x in looked_at) > 200
    assert not [x for x in looked_at if x["wrong"] or x["shown"] < x["formulas"]]


@pytest.mark.slow
def test_no_page_of_the_site_is_wider_than_its_screen_and_every_picture_shows(looked_at):
    assert not [x for x in looked_at if x["over"] > 0 or x["lost"] or x["plain"]]
