"""What those who have not come in may cost, and what lets them in: nothing that can be forged.

Long because its sections share one server whose cost is counted.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from celery.exceptions import ImproperlyConfigured

from fullresult.config.passwords import hash_password
from fullresult.config.users import Users
from fullresult.record import AuditEntry
from fullresult.storage import StorageError
from fullresult.web import Person, create_app
from fullresult.web.health import Health
from fullresult.web.sessions import LIFE, Ended, Session, Sessions, shown
from fullresult.web.throttle import MOST, MOST_OF_NAME, WITHIN, Throttle, Who
from tests.kit import browsing
from tests.kit.browsing import BASE, Browser, charge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

PASSWORD = "correct horse"
USERS = {
    "ada": {"password": hash_password(PASSWORD, n=16, p=1), "role": "operator"},
    "bob": {"password": hash_password(PASSWORD, n=16, p=1)},
}
SECRET = "s" * 32
FORM = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}


@pytest.fixture
def app_with_secret(tmp_path: Path) -> Iterator[Celery]:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with browsing.shop(url, fullresult_web_secret=SECRET) as app:
        yield app


def pages_of(app: Celery) -> Any:
    return create_app(app.fullresult, users=USERS)


def log_in(pages: Any, name: str = "ada", **more: Any) -> Browser:
    browser = Browser(pages, **more)
    browser.submit(browser.get("/login").form("/login"), name=name, password=PASSWORD)
    return browser


def is_in(browser: Browser) -> bool:
    return browser.get("/", follow=False).status == 200


# --- sessions


def test_who_knows_all_hashes_can_make_no_session(app: Celery) -> None:
    """Another process has the same users, and another secret."""
    browser = log_in(pages_of(app))
    assert is_in(browser)

    browser.app = pages_of(app)

    assert not is_in(browser)


def test_processes_with_one_secret_share_their_sessions(app_with_secret: Celery) -> None:
    browser = log_in(pages_of(app_with_secret))

    browser.app = pages_of(app_with_secret)

    assert is_in(browser)


def test_a_session_ends_when_a_password_changes_whatever_the_secret(
    app_with_secret: Celery,
) -> None:
    browser = log_in(pages_of(app_with_secret))
    changed = {**USERS, "bob": {"password": hash_password("another", n=16, p=1)}}

    browser.app = create_app(app_with_secret.fullresult, users=changed)

    assert not is_in(browser)


@pytest.mark.parametrize("secret", [7, "", "short", b"b" * 40])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(app: Celery, secret: Any) -> None:
    app.conf.fullresult_web_secret = secret
    app.fullresult.parts.opened = None

    with pytest.raises(ImproperlyConfigured, match="fullresult_web_secret") as raised:
        pages_of(app)

    assert "short" not in str(raised.value)


def test_who_has_copied_the_cookie_is_out_after_the_log_out(app: Celery) -> None:
    browser = log_in(pages_of(app))
    copied = Browser(browser.app, cookies=httpx.Cookies(browser.cookies))
    assert is_in(copied)

    browser.submit(browser.get("/").form("/logout"))

    assert not is_in(copied)


def test_a_log_out_ends_that_session_and_no_other(app: Celery) -> None:
    pages = pages_of(app)
    one, other = log_in(pages), log_in(pages)

    one.submit(one.get("/").form("/logout"))

    assert (is_in(one), is_in(other)) == (False, True)


def test_a_log_out_is_heard_of_by_the_other_processes(app_with_secret: Celery) -> None:
    browser = log_in(pages_of(app_with_secret))
    copied = Browser(pages_of(app_with_secret), cookies=httpx.Cookies(browser.cookies))

    browser.submit(browser.get("/").form("/logout"))

    assert not is_in(copied)
    (entry, _) = app_with_secret.fullresult.audit_log(actor="ada")
    assert entry.action == "log-out"


def test_other_processes_are_asked_again_and_again_and_from_where_one_was() -> None:
    now, asked, log = [100.0], [], list[AuditEntry]()

    def find(query: Any) -> list[AuditEntry]:
        asked.append(query)
        return log

    ended = Ended(find, lambda: now[0])
    session = Session("password", "ada", int(time.time()) + LIFE, "ident")
    ended.look()
    ended.look()
    log.append(samples_log_out(session))
    before = session in ended
    now[0] += 2
    ended.look()

    assert (before, session in ended, len(asked)) == (False, True, 2)
    assert asked[0].since < asked[1].since


def samples_log_out(session: Session) -> AuditEntry:
    from fullresult.web.shown import now

    return AuditEntry("e", now(), "ada", "log-out", (), {"session": shown(session)}, "done")


def test_sessions_that_are_over_are_not_remembered() -> None:
    ended = Ended()
    for number in range(100):
        ended.add(Session("password", "ada", int(time.time()) - 1, str(number)))
    last = Session("password", "ada", int(time.time()) + LIFE, "last")

    ended.add(last)

    assert last in ended
    assert len(ended._until) == 1


def test_two_sessions_of_one_second_are_two() -> None:
    sessions = Sessions(b"key")

    assert sessions.write("ada", "password", 1000) != sessions.write("ada", "password", 1000)


# --- guessing


def test_a_name_is_guessed_ten_times_a_minute_from_however_many_addresses() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for number in range(MOST_OF_NAME):
        assert throttle.wait(Who("ada", f"10.0.0.{number}")) == 0
        throttle.failed(Who("ada", f"10.0.0.{number}"))

    assert throttle.wait(Who("ada", "10.0.0.99")) == WITHIN
    assert throttle.wait(Who("bob", "10.0.0.99")) == 0


class _Slow(Users):
    """Counts how many passwords are looked at side by side."""

    def __init__(self) -> None:
        super().__init__({})
        self.now = self.most = 0
        self._lock = threading.Lock()

    @property
    def can_log_in(self) -> bool:
        return True

    def by_password(self, name: str, password: str) -> Person | None:  # noqa: ARG002
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.05)
        with self._lock:
            self.now -= 1
        return None


def test_few_passwords_are_hashed_side_by_side(app: Celery) -> None:
    pages = pages_of(app)
    users = pages.state.site.users = _Slow()
    browser = Browser(pages)
    fields = dict(browser.get("/login").form("/login").fields)

    async def guess(client: httpx.AsyncClient, number: int) -> int:
        form = {**fields, "name": f"name {number}", "password": "x"}
        answer = await client.post("/login", data=form, headers={**FORM, "origin": BASE})
        return answer.status_code

    async def all_at_once() -> list[int]:
        transport = httpx.ASGITransport(app=pages)
        async with httpx.AsyncClient(
            transport=transport, base_url=BASE, cookies=browser.cookies
        ) as client:
            return list(await asyncio.gather(*(guess(client, i) for i in range(60))))

    statuses = asyncio.run(all_at_once())

    assert users.most == 2
    assert sorted(statuses) == [403] * 30 + [429] * 30


# --- forms


@pytest.mark.parametrize(
    "content", [b"name=" + b"x" * 20_000, b"&".join(b"a=1" for _ in range(30))]
)
def test_a_stranger_sends_small_forms_only(app: Celery, content: bytes) -> None:
    headers = {**FORM, "origin": BASE}

    answer = Browser(pages_of(app)).ask("POST", "/login", content=content, headers=headers)

    assert answer.status == 413


def test_the_storage_is_asked_for_its_health_once_a_second() -> None:
    now, asked = [0.0], []
    health = Health(lambda: asked.append(1), lambda: now[0])

    async def ask() -> list[bool]:
        return list(await asyncio.gather(*(health.answers() for _ in range(20))))

    first = asyncio.run(ask())
    now[0] = 1.0
    second = asyncio.run(ask())

    assert all(first + second)
    assert len(asked) == 2


def test_a_storage_that_is_down_is_asked_again_after_a_second() -> None:
    now, storage = [0.0], {"up": False}

    def ask() -> None:
        if not storage["up"]:
            raise StorageError("away")

    health = Health(ask, lambda: now[0])
    down = asyncio.run(health.answers())
    storage["up"], now[0] = True, 1.0

    assert (down, asyncio.run(health.answers())) == (False, True)


# --- where a form comes from and where it leads to


@pytest.mark.parametrize("base", [BASE, BASE.replace("http:", "https:")])
def test_a_form_of_the_same_host_by_another_scheme_is_not_taken(app: Celery, base: str) -> None:
    browser = log_in(pages_of(app), base=base)
    other = base.replace("https:", "x:").replace("http:", "https:").replace("x:", "http:")
    form = browser.get("/").form("/logout")

    answer = browser.post("/logout", form.fields, headers={"origin": other})

    assert answer.status == 403
    assert is_in(browser)
    assert ("--trusted-proxy" in answer.words) == other.startswith("https")


@pytest.mark.parametrize("origin", ["null", "", "http://[", "http://[::1", "file://", "//x"])
def test_no_nonsense_passes_for_an_origin(app: Celery, origin: str) -> None:
    browser = log_in(pages_of(app))
    form = browser.get("/").form("/logout")

    assert browser.post("/logout", form.fields, headers={"origin": origin}).status == 403


@pytest.mark.parametrize(
    "back",
    [
        *("../../x", "a/../../../x", "%2e%2e/x", ".%2E/x", "..\\x", "..", "a/..", "/../x"),
        *("..?q=1", "%2E%2e#x"),
    ],
)
def test_a_login_never_leads_out_of_where_the_pages_are_mounted(app: Celery, back: str) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    browser = Browser(Starlette(routes=[Mount("/ops/tasks", pages_of(app))]))
    form = browser.get("/ops/tasks/login").form("/login")

    answer = browser.submit(form, follow=False, name="ada", password=PASSWORD, next=back)

    assert (answer.status, answer.headers["location"]) == (303, "/ops/tasks/")


@pytest.mark.parametrize("back", ["stale?older=..", "task?id=../x", "audit", "a..b"])
def test_a_login_leads_back_to_pages_whose_query_has_dots(app: Celery, back: str) -> None:
    browser = Browser(pages_of(app))
    form = browser.get("/login").form("/login")

    answer = browser.submit(form, follow=False, name="ada", password=PASSWORD, next=back)

    assert answer.headers["location"] == f"/{back}"


@pytest.mark.parametrize("root", ["", "/ops"])
def test_an_error_below_static_links_to_the_pages(app: Celery, root: str) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    pages = pages_of(app)
    host = Starlette(routes=[Mount(root, pages)]) if root else pages

    answer = Browser(host).get(f"{root}/static/nothing")

    assert answer.status == 404
    links = re.findall(r'(?:href|src)="([^"#]+)"', answer.text)
    assert links
    assert not [link for link in links if "/static/static" in link]
    assert f"{root}/" in answer.links


# --- what is typed


@pytest.mark.parametrize("priority", ["9" * 5001, "0001999", "256", "-1", "1.5", "²"])
def test_a_priority_that_is_none_is_said(app: Celery, priority: str) -> None:
    (task_id,) = charge(app)
    browser = log_in(pages_of(app))
    form = browser.get(f"/edit?id={task_id}").form("/edit")

    answer = browser.submit(form, priority=priority)

    assert answer.status == 400
    assert "A whole number from 0 to 255." in answer.words


HIDING = "\u202e\u2066\x07\x1b\x9b"


@pytest.mark.parametrize(
    "path",
    [
        *("/audit?actor={}", "/audit?action={}", "/audit?task_id={}", "/audit?since={}"),
        *("/retry?q={}", "/retry?q=kwargs.order_id:{}", "/retry?stale={}", "/retry?id={}"),
        *("/?q={}", "/?q=kwargs.a{}:1", "/scheduled?q={}", "/stale?older={}"),
        *(
            "/stale-scheduled?older={}",
            "/orphans?older={}",
            "/task?id={}",
            "/why?id={}",
            "/edit?id={}",
        ),
        *("/trigger?name={}", "/cancel?id={}", "/reschedule?id={}", "/login?next={}"),
    ],
)
def test_what_hides_or_turns_text_is_never_answered_as_it_came(app: Celery, path: str) -> None:
    charge(app)
    browser = log_in(pages_of(app))

    answer = browser.get(path.format(quote(f"x{HIDING}y")))

    assert answer.status in (200, 400, 404)
    assert not set(answer.text) & set(HIDING)


def test_a_login_form_never_has_what_would_not_show(app: Celery) -> None:
    answer = Browser(pages_of(app)).get(f"/login?next={quote(HIDING)}")

    assert answer.status == 200
    assert not set(answer.text) & set(HIDING)


def test_a_search_for_what_turns_text_retries_what_it_found(app: Celery) -> None:
    charged = app.tasks["shop.charge"].apply_async((1,), {"amount": 2}, task_id=f"x{HIDING}y")
    charge(app)
    browser = log_in(pages_of(app))
    browsing.sent(app)

    preview = browser.get(f"/retry?q={quote('x' + HIDING)}").form("/retry")
    browser.submit(preview)

    assert len(browsing.sent(app)) == 1
    assert app.fullresult.find(retry_of=charged.id)


@pytest.mark.parametrize(
    "path",
    [
        *("/?q=a%00b", '/?q="%5Cud800"', "/?q=name:a%00", "/?q=state:A%00", "/retry?q=a%00"),
        *("/scheduled?q=%00a", "/audit?actor=a%00", "/audit?task_id=a%00"),
        *('/?q=kwargs.a:"%5Cu0000"', '/?q=kwargs.a:"%5Cud800"'),
    ],
)
def test_characters_that_no_record_has_are_no_outage(app: Celery, path: str) -> None:
    charge(app)

    answer = log_in(pages_of(app)).get(path)

    assert answer.status == 400
    assert "does not answer" not in answer.words


def test_nothing_is_deleted_for_a_text_that_no_record_has(app: Celery) -> None:
    charge(app)

    with pytest.raises(ValueError, match=r"TaskQuery\.text has a NUL"):
        app.fullresult.delete(text="\0")
    assert app.fullresult.count() == 1


# --- the command, in a process of its own


_APP = """
from celery import Celery
from fullresult import FullResult

app = Celery("proj", broker="memory://")
app.conf.fullresult_storage = "sqlite:///memory.db"
app.conf.fullresult_web_users = {users!r}
FullResult(app)
"""


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[tuple[str, int]]:
    """The address of the pages, and the id of their process."""
    users = {"ada": {"password": hash_password(PASSWORD)}}
    (directory / "proj.py").write_text(_APP.format(users=users))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "proj", "fullresult", "web"),
            *("--port", "0", *options),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://[^/\s]+", process.stdout.readline())
        assert found
        yield found[0], process.pid
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def largest(pid: int) -> float:
    """MiB that the process ever took."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sixty_strangers_who_log_in_at_once_take_little_memory(tmp_path: Path) -> None:
    with serving(tmp_path) as (base, pid):
        with httpx.Client(base_url=base) as one:
            csrf = re.findall(r'name="csrf" value="([^"]+)"', one.get("/login").text)[0]
            cookies = httpx.Cookies(one.cookies)
        before = largest(pid)

        async def all_at_once() -> list[int]:
            async with httpx.AsyncClient(base_url=base, cookies=cookies, timeout=60) as client:
                forms = ({"csrf": csrf, "name": f"{i}", "password": "x"} for i in range(60))
                asked = (
                    client.post("/login", data=form, headers={**FORM, "origin": base})
                    for form in forms
                )
                return [answer.status_code for answer in await asyncio.gather(*asked)]

        statuses = asyncio.run(all_at_once())
        grown = largest(pid) - before

    assert sorted(statuses) == [403] * 30 + [429] * 30
    assert grown < 150  # 900 where all are hashed side by side


@pytest.mark.slow
def test_a_form_that_is_sent_by_half_is_given_up(tmp_path: Path) -> None:
    head = "POST /login HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nSec-Fetch-Site: same-origin\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nname="
    with serving(tmp_path) as (base, _):
        where = urlsplit(base)
        assert where.port is not None
        with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
            connection.sendall(head.format(where.netloc, base).encode())
            began = time.monotonic()
            answer = connection.recv(100).decode()
            took = time.monotonic() - began

    assert answer.startswith("HTTP/1.1 408 ")
    assert 9 < took < 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "wanted"),
    [((), [403] * MOST + [429] * 3), (("--trusted-proxy", "127.0.0.1"), [403] * 8)],
)
def test_an_address_is_believed_of_proxies_that_are_trusted(
    tmp_path: Path, options: tuple[str, ...], wanted: list[int]
) -> None:
    with serving(tmp_path, *options) as (base, _), httpx.Client(base_url=base) as client:
        csrf = re.findall(r'name="csrf" value="([^"]+)"', client.get("/login").text)[0]
        form = {"csrf": csrf, "name": "ada", "password": "x"}
        statuses = [
            client.post(
                "/login",
                data=form,
                headers={**FORM, "origin": base, "x-forwarded-for": f"10.0.0.{number}"},
            ).status_code
            for number in range(8)
        ]

    assert statuses == wanted
