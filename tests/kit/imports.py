"""The import graph of the packages, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """A module's dotted name and source. A package goes by its own name, without `__init__`."""

    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


def read_package(root: Path, package: str) -> list[Module]:
    return [
        Module(_dotted(file.relative_to(root)), file.read_text(encoding="utf-8"))
        for file in sorted((root / package).rglob("*.py"))
    ]


def _dotted(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(module: Module) -> Iterator[str]:
    """The dotted names that *module* imports anywhere in it: `a.b` for `from a import b`.

    Imports in functions and under TYPE_CHECKING count like any other.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(module: Module, known: Iterable[str]) -> set[str]:
    """The modules among *known* that *module* imports.

    `from a import b` imports the module `a.b` if there is one, else `a`.
    """
    known = {*known}
    found = {name if name in known else name.rpartition(".")[0] for name in imported_names(module)}
    return found & known - {module.name}


def graph_of(modules: Iterable[Module]) -> dict[str, set[str]]:
    modules = list(modules)
    known = {module.name for module in modules}
    return {module.name: imported_modules(module, known) for module in modules}


def circles_of(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The largest groups of modules in which each one reaches every other."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other]) for name in graph
    }
    return [set(group) for group in sorted(groups, key=sorted) if group]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(graph[name])
    return found


def private_imports(module: Module, package: str) -> set[str]:
    """The underscored names of *package* that *module* takes from another of its modules."""
    return {
        name
        for name in imported_names(module)
        if name.partition(".")[0] == package and any(map(_is_private, name.split(".")))
    }


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def calls_on(module: Module, owner: str) -> set[str]:
    """The methods that *module* calls on anything named *owner*: `x.owner.m()` and `owner.m()`."""
    return {
        node.func.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _last_name(node.func.value) == owner
    }


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def states_of(module: Module) -> set[str]:
    """The module's names for a container that is empty at first, and so is filled later."""
    return {
        target.id
        for node in module.tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and _is_empty_container(node.value)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def _is_empty_container(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        name = _last_name(node.func)
        empty = not node.args or name == "defaultdict"
        return empty and name.endswith(("dict", "list", "set", "Dictionary", "Set"))
    return isinstance(node, (ast.Dict, ast.List)) and not ast.unparse(node).strip("{}[]")


def is_docstring_alone(module: Module) -> bool:
    body = module.tree.body
    return len(body) == 1 and ast.get_docstring(module.tree) is not None
