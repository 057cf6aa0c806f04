"""How long the lists of Django's admin take with a million records, on PostgreSQL.

`python -m benchmarks.django_admin`. One request is warm-up; of the next ten it shows the median,
the fastest, and the CPU time of this process and of the server's for one. On a busy machine the
CPU time counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.kit import servers

PROJECT = Path(__file__).parent.parent / "examples" / "django"
LIST = "/admin/fullresult/taskrecord/"
ASKED = {
    "the list": {},
    "page 100": {"p": "100"},
    "state FAILURE": {"state": "FAILURE"},
    "state SUCCESS": {"state": "SUCCESS"},
    "one name": {"name": "shop.task_7"},
    "the last hour": {"created": "1h"},
    "search a name": {"q": "shop.task_1"},
    "search an id": {"q": "task-77"},
}
TRIES = 10
FILL = """
INSERT INTO fullresult_task (
    task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries,
    stale_from, date_done, message_stamp, name, args, kwargs, queue
)
SELECT 'task-' || n, at, at, at, 'x', state, state = 'PENDING', 0, at, at, 'x',
    'shop.task_' || n %% 50, '[1]', jsonb_build_object('order', n), 'celery'
FROM (
    SELECT n, now() - n * interval '1 second' AS at,
        CASE WHEN n %% 100 = 0 THEN 'FAILURE' WHEN n %% 1000 = 1 THEN 'PENDING' ELSE 'SUCCESS' END
        AS state
    FROM generate_series(1, %s) AS n
) AS made
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--database", help="a URL; it is filled if it is empty, and kept")
    parser.add_argument("--fill-only", action="store_true", help="measure another time")
    given = parser.parse_args()
    with ExitStack() as stack:
        url = given.database
        if url is None:
            server = stack.enter_context(servers.postgresql())
            url = stack.enter_context(servers.postgresql_database(server))
        client = logged_in(url, given.records)
        if not given.fill_only:
            show(client)


def show(client: Any) -> None:
    for name, query in ASKED.items():
        median, fastest, ours, server = (1000 * seconds for seconds in measured(client, query))
        shown = f"{median:6.0f} ms, fastest {fastest:.0f}, CPU {ours:.0f} and {server:.0f}"
        print(f"{name:15} {shown}", flush=True)


def logged_in(url: str, records: int) -> Any:
    os.environ |= {"SHOP_DATABASE": url, "DJANGO_SETTINGS_MODULE": "proj.settings"}
    sys.path.insert(0, str(PROJECT))
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM fullresult_task LIMIT 1")
        if cursor.fetchone() is None:
            cursor.execute(FILL, [records])
            cursor.execute("VACUUM ANALYZE fullresult_task")
    client = Client()
    user, _ = User.objects.get_or_create(username="ada", is_staff=True, is_superuser=True)
    client.force_login(user)
    return client


def measured(client: Any, query: dict[str, str]) -> tuple[float, float, float, float]:
    """The median and least seconds of a list, and its CPU seconds here and in the server."""
    assert client.get(LIST, query).status_code == 200
    taken, busy, served = [], time.process_time(), server_cpu()
    for _ in range(TRIES):
        began = time.perf_counter()
        client.get(LIST, query)
        taken.append(time.perf_counter() - began)
    cpu, there = (time.process_time() - busy) / TRIES, (server_cpu() - served) / TRIES
    return statistics.median(taken), min(taken), cpu, there


def server_cpu() -> float:
    """The CPU seconds of PostgreSQL's process for Django's connection, which Linux tells."""
    from django.db import connection

    connection.ensure_connection()
    stat = Path(f"/proc/{connection.connection.info.backend_pid}/stat").read_text(encoding="utf-8")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
