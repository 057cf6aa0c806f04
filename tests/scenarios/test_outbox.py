"""Retries and replacements of tasks that publish into an outbox, in a real worker."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.kit import workers
from tests.kit.workers import Scene, is_finished

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    module = "tests.apps.scenario_outbox_app"
    with workers.running("postgresql", request, module=module, fullresult_outbox=True) as scene:
        with psycopg.connect(scene.full.settings.storage) as connection:
            connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")
        yield scene


@pytest.mark.parametrize(
    ("how", "where", "result", "children"),
    [
        ("retry", "inside", "ordered", [1]),
        ("retry", "after", "ordered", [0, 1]),
        ("replace", "inside", 4, []),
        ("replace", "after", 4, [0]),
    ],
)
def test_it_goes_on_and_its_children_are_those_of_what_committed(
    scene: Scene, how: str, where: str, result: object, children: list[int]
) -> None:
    task_id = scene.send("order", how, where)
    record = scene.final(task_id, "SUCCESS")
    wanted = [f"{task_id} {number}" for number in children]
    ended = [scene.eventually(child, is_finished).state for child in wanted]
    with psycopg.connect(scene.full.settings.storage) as connection:
        asked = "SELECT id FROM orders WHERE id LIKE %s ORDER BY id"
        orders = [row[0] for row in connection.execute(asked, [f"{task_id} %"])]

    assert record.result == result
    assert orders == wanted
    assert ended == ["SUCCESS"] * len(wanted)
    others = [f"{task_id} {number}" for number in (0, 1) if number not in children]
    assert [scene.full.get(other) for other in others] == [None] * len(others)
