"""The checker of the documentation's site finds what leads nowhere; pages lead to what they did."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SITE = Path(__file__).parents[1] / "docs" / "site"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SITE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links = script("links")
build = script("build")


def site(directory: Path, body: str) -> list[str]:
    """What is wrong with a site of two pages, one of which has *body*."""
    (directory / "deep").mkdir()
    (directory / "deep" / "page.html").write_text(f"<main>{body}</main>", encoding="utf-8")
    (directory / "other.html").write_text('<h1 id="there">Other</h1>', encoding="utf-8")
    return [fault.removeprefix("deep/page.html ") for fault in links.faults(directory)]


@pytest.mark.parametrize(
    "body",
    [
        '<a href="../other.html">',
        '<a href="../other.html#there">',
        '<a href="#here"><p id="here">',
        '<a href="https://docs.celeryq.dev/en/stable/#top">',
        '<a href="mailto:ada@example.com">',
        '<img src="../other.html">',
    ],
)
def test_what_is_right_is_no_fault(tmp_path: Path, body: str) -> None:
    assert site(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html">', "links to other.html: there is no such file."),
        ('<a href="../../etc">', "links to ../../etc: there is no such file."),
        ('<a href="../other.html#no">', "links to ../other.html#no: the page has no such anchor."),
        ('<a href="#no">', "links to #no: the page has no such anchor."),
        ('<a href="/other.html">', "links to /other.html: it holds at the root of a host only."),
        ('<a href="http://example.com">', "links to http://example.com: it is not https."),
        ('<a href="https://nowhere">', "links to https://nowhere: it is no address."),
        ('<img src="a.png">', "links to a.png: there is no such file."),
        ('<script src="https://cdn.example.com/a.js">', "from another host."),
        ('<link rel="stylesheet" href="https://fonts.example.com/a.css">', "from another host."),
        ('<img srcset="https://cdn.example.com/a.png 2x">', "from another host."),
    ],
)
def test_what_leads_nowhere_or_elsewhere_is_a_fault(tmp_path: Path, body: str, fault: str) -> None:
    (found,) = site(tmp_path, body)

    assert found.endswith(fault)


def test_a_site_without_pages_is_a_fault(tmp_path: Path) -> None:
    assert links.faults(tmp_path) == [f"{tmp_path} has no pages."]


@pytest.mark.parametrize(
    ("source", "link", "wanted"),
    [
        ("README.md", "docs/web.md#search", "web.md#search"),
        ("README.md", "docs/images/web.png", "images/web.png"),
        ("README.md", "https://example.com/docs/web.md", "https://example.com/docs/web.md"),
        ("docs/web.md", "../benchmarks/README.md#a", "benchmarks.md#a"),
        ("docs/web.md", "#search", "#search"),
        ("benchmarks/README.md", "../docs/web.md", "web.md"),
    ],
)
def test_a_link_of_the_repository_leads_to_the_same_text(
    source: str, link: str, wanted: str
) -> None:
    names = {**build.BESIDE, "docs/web.md": "web"}

    assert build.on_site(source, link, names) == wanted


def test_each_page_is_in_the_navigation_once() -> None:
    entries = [name for part in build.NAVIGATION.values() for name in part]

    found = {name for name in build.pages() if not name.startswith("source/")}

    assert len(entries) == len(set(entries))
    assert set(entries) == found - {"index"}


def test_a_directory_that_is_no_site_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")

    with pytest.raises(SystemExit, match="empty directory"):
        build.build(tmp_path)

    assert (tmp_path / "mine").read_text() == "kept"
