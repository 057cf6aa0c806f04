"""One sentence a line: the form of the documentation's Markdown.

    python -m tests.kit.sentences docs/design.md …

puts pages into it. Code blocks, tables and headings stay as they are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_END = re.compile(r"(?<=[.?!])[\"')\]*_]*(?= \S)")
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "…")
_CODE_OR_LINK = re.compile(r"`+[^`]*`+|\]\([^)]*\)")
_ITEM = re.compile(r"( *)((?:[-*+]|\d+\.) +)?(.*)")
_VERBATIM = re.compile(r"\s*(\||#|<|```|$)")


def one_sentence_a_line(text: str) -> str:
    """*text*, a page in Markdown, with its paragraphs and list items broken after each sentence."""
    return "".join(f"{line}\n" for line in _lines(text.splitlines()))


def _lines(lines: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    fenced = False
    for line in lines:
        if fenced or _VERBATIM.match(line):
            yield from _broken(paragraph)
            paragraph = []
            yield line
            fenced ^= line.lstrip().startswith("```")
        elif _begins_item(line):
            yield from _broken(paragraph)
            paragraph = [line]
        else:
            paragraph.append(line)
    yield from _broken(paragraph)


def _begins_item(line: str) -> bool:
    found = _ITEM.match(line)
    return found is not None and found[2] is not None


def _broken(paragraph: list[str]) -> Iterator[str]:
    if not paragraph:
        return
    found = _ITEM.match(paragraph[0])
    assert found is not None
    indent, marker = found[1], found[2] or ""
    text = " ".join([found[3], *map(str.strip, paragraph[1:])])
    for number, sentence in enumerate(sentences(text)):
        yield indent + (" " * len(marker) if number else marker) + sentence


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph. What stands in code, links or brackets is not cut."""
    plain = _CODE_OR_LINK.sub(lambda found: "`" * len(found[0]), text)
    found, begin = [], 0
    for match in _END.finditer(plain):
        if _ends_sentence(plain[begin : match.end()]):
            found.append(text[begin : match.end()].strip())
            begin = match.end()
    return [*found, text[begin:].strip()]


def _ends_sentence(text: str) -> bool:
    """False after an abbreviation, inside brackets, and after a bold first word or two."""
    text = text.strip()
    is_title = text.startswith("**") and text.count("**") == 2 and text.endswith("**")
    return not (is_title or text.endswith(_ABBREVIATIONS) or text.count("(") > text.count(")"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        page.write_text(one_sentence_a_line(page.read_text(encoding="utf-8")), encoding="utf-8")
