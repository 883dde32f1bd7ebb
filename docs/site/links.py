"""Check the links of a built site: every address inside it leads to a file, every anchor to an element."""

import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to and loads, and the ids of its elements."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note the addresses and the id of one element."""
        about = dict(attrs)
        self.ids |= {about[key] for key in ("id", "name") if about.get(key)}
        self.targets |= {about[key] for key in ("href", "src") if about.get(key)}


def read_pages(site):
    """Return {path: Page} of every HTML file of a site."""
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def internal(pages):
    """Yield (page, address, the file it means, its anchor) of every link that stays inside the site."""
    for path, page in pages.items():
        for target in sorted(page.targets):
            parts = urlsplit(target)
            if not (parts.scheme or parts.netloc):
                file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                yield path, target, file, unquote(parts.fragment)


def add_images(site, sources):
    """Copy what pages show with HTML of their own, which Sphinx does not see, from the sources."""
    site = site.resolve()
    for _, _, file, _ in internal(read_pages(site)):
        if not file.exists() and file.is_relative_to(site) and (source := sources / file.relative_to(site)).is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, file)


def dead_links(site):
    """Return a line for every link of the site that leads out of it, to no file, or to no element."""
    pages, site, dead = read_pages(site), Path(site).resolve(), []
    for path, target, file, anchor in internal(pages):
        lost = not (file.is_file() and file.is_relative_to(site))
        if lost or (anchor and file in pages and anchor not in pages[file].ids):
            dead.append(f"{path.relative_to(site)}: dead link: {target}")
    return dead
