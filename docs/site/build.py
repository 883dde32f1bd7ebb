"""Build the site in build/site: README, docs/, the notebooks with their committed outputs, the tables, the API reference.

`make site` runs this. Nothing is fetched, trained or executed. A warning of Sphinx is an error, and so is a dead link.
`python docs/site/build.py linkcheck` asks the addresses outside the project too, over the network.
"""

import shutil
import sys

from links import add_images, dead_links
from sources import stage
from sphinx.cmd.build import build_main

from omac.paths import BUILD, ROOT, shown

STAGE, SITE = BUILD / "site.source", BUILD / "site"


def build(builder="html"):
    """Write build/site anew and return Sphinx's exit code, or 1 where a link of the site is dead."""
    for folder in (STAGE, SITE):
        shutil.rmtree(folder, ignore_errors=True)
    stage(ROOT, STAGE)
    words = ["-q", "-E", "-W", "--keep-going", "-b", builder, "-c", str(ROOT / "docs" / "site")]
    code = build_main([*words, "-d", str(STAGE / ".doctrees"), str(STAGE), str(SITE)])
    if code or builder != "html":
        return code
    shutil.copy(SITE / "README.html", SITE / "index.html")
    add_images(SITE, STAGE)
    dead = dead_links(SITE)
    print("\n".join(dead) or f"{shown(SITE)}/index.html")
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(build(*sys.argv[1:2]))
