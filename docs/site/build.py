"""Builds the documentation as a site, strictly: `nox -s docs`.

    python docs/site/build.py DIRECTORY

The pages are those of `docs/`, with the README as the first one and what they link to elsewhere in
the repository. The same texts and links are right on GitHub.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The first page has these in its navigation: a caption, and its pages with their titles there.
NAVIGATION: dict[str, dict[str, str]] = {
    "": {
        "getting-started": "Getting started",
        "at-3-am": "At 3 a.m.",
        "comparison": "Comparison",
        "faq": "Questions",
    },
    "How to": {
        "web": "Look, search and act in a browser",
        "explain": "Find out why",
        "failures": "Deal with failures",
        "queues": "Pause a queue",
        "resending": "Send again",
        "replay": "Send thousands again",
        "workflows": "Mend a broken workflow",
        "scheduling": "Schedule tasks",
        "outbox": "Publish with your data: the outbox",
        "results": "Keep Celery's results",
        "django": "Use it with Django",
        "deployment": "Deploy",
        "check": "Check a deploy",
        "upgrade": "Upgrade",
        "import": "Take over what was recorded",
        "from-flower": "Come from Flower",
        "from-django-celery-results": "Come from django-celery-results",
        "from-django-celery-fulldbresult": "Come from django-celery-fulldbresult",
        "adapters": "Write an adapter",
    },
    "Reference": {
        "configuration": "Configuration",
        "commands": "Command line",
        "api": "Python",
        "http-api": "HTTP API",
        "recording": "What is recorded",
        "databases": "Databases",
        "performance": "Performance",
        "scale": "Scale",
        "permissions": "Permissions",
        "outages": "Outages",
    },
    "Explanation": {
        "design": "Design",
        "glossary": "Glossary",
    },
    "Project": {
        "changelog": "Changelog",
        "contributing": "Contributing",
        "security": "Security",
        "benchmarks": "Benchmarks",
        "example-django": "Example: a Django project",
        "example-adapter": "Example: an adapter",
    },
}

# Pages that stand elsewhere in the repository.
BESIDE = {
    "README.md": "index",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "benchmarks/README.md": "benchmarks",
    "examples/adapter/README.md": "example-adapter",
    "examples/django/README.md": "example-django",
}

_FENCED = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(
    r"(?<=\]\()([^)\s]+)(?=\))|(?<=src=\")([^\"]+)(?=\")|(?<=srcset=\")([^\"]+)(?=\")"
)


def pages() -> dict[str, str]:
    """Each page of the site by its name: the Markdown, with links as the site needs them."""
    names = {f"docs/{path.name}": path.stem for path in (ROOT / "docs").glob("*.md")} | BESIDE
    texts = {source: (ROOT / source).read_text(encoding="utf-8") for source in names}
    linked = {target for source, text in texts.items() for target in targets(source, text)}
    code = {target: f"source/{target}" for target in linked if is_code(target, names)}
    found = {
        name: links_changed(texts[source], partial(on_site, source, names=names | code))
        for source, name in names.items()
    }
    return found | {name: shown(source) for source, name in code.items()}


def targets(source: str, text: str) -> set[str]:
    """What a file of the repository links to in the repository."""
    parts = _FENCED.split(text)[::2]
    return {in_repository(source, link[0]) for part in parts for link in _LINK.finditer(part)}


def links_changed(markdown: str, change: Callable[[str], str]) -> str:
    """The text with each link outside its code blocks replaced by what *change* says."""
    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: change(link[0]), part) for part in parts[::2]]
    return "".join(parts)


def on_site(source: str, link: str, names: Mapping[str, str]) -> str:
    """The link that stands in the file *source*, for the page that is made from it."""
    path, sign, anchor = link.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return link
    target = in_repository(source, path)
    if target not in names:
        return target.removeprefix("docs/") + sign + anchor
    return f"{names[target]}.md{sign}{anchor}"


def in_repository(source: str, link: str) -> str:
    path = link.partition("#")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else source


def is_code(path: str, names: Mapping[str, str]) -> bool:
    """It is a file of the repository that has no page yet."""
    return not path.startswith("docs/") and path not in names and (ROOT / path).is_file()


def shown(path: str) -> str:
    language = "python" if path.endswith(".py") else "text"
    code = (ROOT / path).read_text(encoding="utf-8")
    return f"---\norphan: true\n---\n# {path}\n\n````{language}\n{code}````\n"


def navigation() -> str:
    """The first page's, which its text does not show."""
    return "".join(
        "\n```{toctree}\n:hidden:\n"
        + (f":caption: {caption}\n" if caption else "")
        + "\n"
        + "".join(f"{title} <{name}>\n" for name, title in entries.items())
        + "```\n"
        for caption, entries in NAVIGATION.items()
    )


def build(target: Path) -> int:
    """Build the site in *target*, anew. The exit code: a warning is an error."""
    if target.is_dir() and any(target.iterdir()) and not Path(target, ".buildinfo").is_file():
        sys.exit(f"{target} is no site that was built before: name an empty directory.")
    from sphinx.cmd.build import main as sphinx

    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fullresult-docs-") as name:
        place = Path(name)
        for page, text in pages().items():
            file = place / f"{page}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + (navigation() if page == "index" else ""), encoding="utf-8")
        shutil.copytree(ROOT / "docs" / "images", place / "beside" / "images")
        strict = ("-q", "--fail-on-warning", "--nitpicky")
        here = ("-c", str(Path(__file__).parent), "-d", f"{name}/.trees")
        pictures = ("-D", f"html_extra_path={place / 'beside'}")
        return int(sphinx([*strict, *here, *pictures, name, str(target)]))


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve()))
