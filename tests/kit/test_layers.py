"""The checker of the layer rule finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.kit.imports import (
    Module,
    calls_on,
    circles_of,
    graph_of,
    imported_modules,
    is_docstring_alone,
    private_imports,
    states_of,
)
from tests.kit.layers import (
    calls_of_storage,
    climbs,
    foreign_imports,
    foreign_to_adapters,
    rooms_below,
)

RECORD = Module("fullresult.record.task", "")
STORAGE = Module("fullresult.storage.contract", "from fullresult.record.task import TaskRecord")


def a_module(name: str, *lines: str) -> Module:
    return Module(name, "\n".join(lines))


def test_an_import_that_runs_down_is_none_of_its_business() -> None:
    assert not climbs([RECORD, STORAGE])


@pytest.mark.parametrize(
    "lines",
    [
        ("from fullresult.storage.contract import Storage",),
        ("from fullresult.storage import contract",),
        ("import fullresult.storage.contract",),
        ("if TYPE_CHECKING:", "    from fullresult.storage.contract import Storage"),
        ("def later():", "    from fullresult.storage.contract import Storage"),
    ],
    ids=["from", "of a package", "import", "type-only", "lazy"],
)
def test_an_import_that_climbs_is_found_wherever_it_stands(lines: tuple[str, ...]) -> None:
    record = a_module("fullresult.record.task", *lines)

    found = climbs([record, a_module("fullresult.storage.contract")])

    assert found == {"fullresult.record.task -> fullresult.storage.contract"}


def test_rooms_of_one_layer_do_not_import_each_other() -> None:
    importer = a_module("fullresult.config.urls", "import fullresult.storage.contract")

    assert climbs([RECORD, STORAGE, importer])


def test_the_suite_of_the_adapters_knows_no_more_than_they_and_the_plugins() -> None:
    suite = a_module("fullresult.testing.suite", "import fullresult.outage.spool")
    opening = a_module("fullresult.testing.fixtures", "import fullresult.plugins")
    others = [a_module("fullresult.outage.spool"), a_module("fullresult.plugins")]

    found = climbs([suite, opening, *others])

    assert found == {"fullresult.testing.suite -> fullresult.outage.spool"}


def test_no_room_imports_the_suite() -> None:
    assert not [room for room, lower in rooms_below().items() if "testing" in lower]


def test_a_room_that_the_rule_does_not_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="new_room"):
        climbs([a_module("fullresult.new_room.thing", "import fullresult.record.task"), RECORD])


@pytest.mark.parametrize(
    ("line", "imported"),
    [
        ("from kombu.utils import uuid", "kombu.utils.uuid"),
        ("import kombu", "kombu"),
        ("from fullresult.scheduling import sender", "fullresult.scheduling.sender"),
        (
            "from fullresult.scheduling.sender import Sender",
            "fullresult.scheduling.sender.Sender",
        ),
    ],
)
def test_a_question_that_could_reach_the_broker_is_found(line: str, imported: str) -> None:
    found = foreign_imports([a_module("fullresult.insight.stale", line)])

    assert found == {f"fullresult.insight.stale -> {imported}"}


def test_a_name_that_only_begins_like_the_brokers_library_is_no_import_of_it() -> None:
    assert not foreign_imports([a_module("fullresult.insight.stale", "import kombucha")])


@pytest.mark.parametrize(
    "line",
    ["full.storage.find(query)", "site.full.storage.find(query)", "storage.find(query)"],
)
def test_a_door_that_asks_a_storage_itself_is_found(line: str) -> None:
    found = calls_of_storage([a_module("fullresult.web.pages.stale", line)])

    assert found == {"fullresult.web.pages.stale: find"}


@pytest.mark.parametrize(
    "line", ["overdue(full.storage, now)", "full.storage", "full.storages.find()", "a().b()"]
)
def test_a_door_may_hand_a_storage_on(line: str) -> None:
    assert not calls_of_storage([a_module("fullresult.cli.report", line)])


def test_only_doors_are_kept_from_a_storage() -> None:
    module = a_module("fullresult.insight.stale", "self.storage.find(query)")

    assert calls_on(module, "storage") == {"find"}
    assert not calls_of_storage([module])


def test_an_adapter_imports_only_what_its_rooms_hand_on() -> None:
    adapter = a_module(
        "fullresult_storage_sql.rows",
        "from fullresult.record import TaskRecord, encoding",
        "from fullresult.record.schedule import Schedule",
        "from fullresult import hookspecs",
        "from fullresult_storage_sql.statements import load",
        "from fullresult.outage.spool import Spool",
        "from fullresult import FullResult",
    )

    found = foreign_to_adapters([adapter])

    assert found == {
        "fullresult_storage_sql.rows -> fullresult.record.schedule.Schedule",
        "fullresult_storage_sql.rows -> fullresult.outage.spool.Spool",
        "fullresult_storage_sql.rows -> fullresult.FullResult",
    }


def test_a_circle_is_found_through_any_number_of_modules() -> None:
    modules = [
        a_module("p.a", "from p import b"),
        a_module("p.b", "if TYPE_CHECKING:", "    from p.c import C"),
        a_module("p.c", "def f():", "    import p.a"),
        a_module("p.d", "import p.a"),
    ]

    assert circles_of(graph_of(modules)) == [{"p.a", "p.b", "p.c"}]


def test_modules_that_import_one_way_make_no_circle() -> None:
    modules = [a_module("p.a", "import p.b", "import p.c"), a_module("p.b", "import p.c")]

    assert circles_of(graph_of([*modules, a_module("p.c")])) == []


def test_a_name_from_a_package_is_its_module_if_there_is_one() -> None:
    module = a_module("p.a", "from p import b, C", "from p.c import d", "import json")

    assert imported_modules(module, ["p", "p.a", "p.b", "p.c"]) == {"p", "p.b", "p.c"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from p.b import _hidden", {"p.b._hidden"}),
        ("from p._b import shown", {"p._b.shown"}),
        ("from p import __version__", set()),
        ("from other import _hidden", set()),
    ],
)
def test_a_private_name_of_another_module_is_found(line: str, found: set[str]) -> None:
    assert private_imports(a_module("p.a", line), "p") == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("_known = {}", {"_known"}),
        ("_known: list[str] = []", {"_known"}),
        ("_known: WeakKeyDictionary[str, str] = WeakKeyDictionary()", {"_known"}),
        ("_known = defaultdict(list)", {"_known"}),
        ("KNOWN = {1: 2}", set()),
        ("KNOWN = frozenset({1})", set()),
        ("__all__ = ['a']", set()),
        ("def f():\n    known = {}", set()),
    ],
)
def test_state_of_a_module_is_found(line: str, found: set[str]) -> None:
    assert states_of(a_module("p.a", line)) == found


@pytest.mark.parametrize(
    ("lines", "alone"),
    [
        (('"""A room."""',), True),
        (('"""A room."""', "import json"), False),
        ((), False),
        (("import json",), False),
    ],
)
def test_a_room_with_a_sentence_alone_is_told_from_others(
    lines: tuple[str, ...], *, alone: bool
) -> None:
    assert is_docstring_alone(a_module("p", *lines)) is alone
