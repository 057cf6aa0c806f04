"""Checks a built site: every link and anchor leads somewhere, and nothing comes from other hosts.

    python docs/site/links.py DIRECTORY

Links to other sites are looked at, and not followed: a build needs no network.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attributes by which a page loads something, rather than lead to it.
_LOADS = {"src", "srcset", "poster", "data", "action"}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "preconnect"}
# Shown wherever a page is missing, it can but begin at the root.
_FOR_ANY_ADDRESS = "404.html"


class Page(HTMLParser):
    """The anchors of a page, what it leads to and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.anchors |= {named[name] for name in ("id", "name") if named.get(name)}
        for name in _LOADS & named.keys():
            self.loads |= {each.split()[0] for each in named[name].split(",") if each.strip()}
        if href := named.get("href"):
            loaded = tag == "link" and not _LOADING_LINKS.isdisjoint(named.get("rel", "").split())
            (self.loads if loaded else self.links).add(href)


def faults(site: Path) -> list[str]:
    """A sentence for each link that leads nowhere, and each thing loaded from another host."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site} has no pages."]
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [
            f"{name} loads {link} from another host."
            for link in sorted(page.loads)
            if urlsplit(link).netloc
        ]
        found += [
            f"{name} links to {link}: {fault}."
            for link in sorted(page.links | page.loads)
            if (fault := _fault(site, path, link, pages))
        ]
    return found


def _fault(site: Path, path: Path, link: str, pages: dict[Path, Page]) -> str | None:
    try:
        parts = urlsplit(link)
    except ValueError as error:
        return str(error)
    if parts.scheme or parts.netloc:
        return _fault_outside(link)
    start = path.parent
    if parts.path.startswith("/"):
        if path.name != _FOR_ANY_ADDRESS:
            return "it holds at the root of a host only"
        start = site
    target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_relative_to(site.resolve()) or not target.is_file():
        return "there is no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "the page has no such anchor"
    return None


def _fault_outside(link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme in ("mailto", "data"):
        return None
    if parts.scheme != "https":
        return "it is not https"
    host = parts.hostname or ""
    return None if "." in host and " " not in link else "it is no address"


def main(directory: str) -> int:
    found = faults(Path(directory).resolve())
    for fault in found:
        sys.stderr.write(f"{fault}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
