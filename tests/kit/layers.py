"""The layer rule as a table, and what breaks it in given modules."""

from __future__ import annotations

from collections.abc import Iterable

from tests.kit.imports import Module, calls_on, graph_of, imported_names

CORE = "fullresult"
# The rooms from the bottom up. A room imports lower ones only; rooms of one line are strangers.
LAYERS = (
    {"record"},
    {"config", "storage"},
    {"hookspecs"},
    {"outage"},
    {"recording"},
    {"plugins"},
    {"scheduling"},
    {"results", "insight"},
    {"actions"},
    {"importers"},
    {"extension"},
    {CORE},  # The face, `fullresult/__init__.py`.
    {"web"},
    {"cli"},
    {"django", "__main__"},
)
_IN_A_FACE = 2
"""The dots in the name of what a room hands on, or of a module of it."""
OF_ADAPTERS = {"record", "storage", "config", "hookspecs"}
# Beside the line: the suite is the adapters' and knows what they know, and how one is opened.
APART = {"testing": OF_ADAPTERS | {"plugins"}}
# Reads only: nothing of it may reach the broker.
FOREIGN_TO_INSIGHT = ("kombu", f"{CORE}.scheduling.sender")
DOORS = {"cli", "web", "django"}


def room_of(module: str) -> str:
    """The room of a module's dotted name; a module outside any is its own, the face is CORE."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def rooms_below() -> dict[str, set[str]]:
    """The rooms each room may import."""
    below: dict[str, set[str]] = {}
    lower: set[str] = set()
    for layer in LAYERS:
        below |= {room: {*lower} for room in layer}
        lower |= layer
    return below | APART


def climbs(modules: Iterable[Module]) -> set[str]:
    """Imports that do not run down, as `importer -> imported`."""
    below = rooms_below()
    return {
        f"{importer} -> {imported}"
        for importer, all_imported in graph_of(modules).items()
        for imported in all_imported
        if room_of(imported) not in below[room_of(importer)] | {room_of(importer)}
    }


def foreign_imports(modules: Iterable[Module]) -> set[str]:
    """Imports of `insight` that could reach the broker, as `importer -> imported`."""
    return {
        f"{module.name} -> {name}"
        for module in modules
        if room_of(module.name) == "insight"
        for name in imported_names(module)
        if any(f"{name}.".startswith(f"{foreign}.") for foreign in FOREIGN_TO_INSIGHT)
    }


def calls_of_storage(modules: Iterable[Module]) -> set[str]:
    """Methods of a storage that a door calls itself, as `module: method`."""
    return {
        f"{module.name}: {method}"
        for module in modules
        if room_of(module.name) in DOORS
        for method in calls_on(module, "storage")
    }


def foreign_to_adapters(modules: Iterable[Module]) -> set[str]:
    """What an adapter imports of the core but not from its rooms' faces: `importer -> imported`."""
    return {
        f"{module.name} -> {name}"
        for module in modules
        for name in imported_names(module)
        if name.partition(".")[0] == CORE
        and (room_of(name) not in OF_ADAPTERS or name.count(".") > _IN_A_FACE)
    }
