"""Who may do what by the HTTP API, and what a stranger, a reader or another site is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from starlette.applications import Starlette
from starlette.requests import Request

from fullresult.config.passwords import hash_password, hash_token, new_token
from fullresult.web import Person, create_app
from fullresult.web.api.routes import operations
from tests.kit import browsing
from tests.kit.api import ROOT, Client, told
from tests.kit.browsing import BASE, TOKEN, Browser

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD, n=16, p=1)  # Quickly, as nobody should.
OF_OPERATOR, OF_READER = new_token(), new_token()
USERS = {
    "ada": {"password": HASH, "role": "operator"},
    "bob": {"password": HASH},
    "robot": {"token": hash_token(OF_OPERATOR), "role": "operator"},
    "watcher": {"token": hash_token(OF_READER)},
}
SAME_SITE = {"origin": BASE, "sec-fetch-site": "same-origin"}
ACTS = [each.path for each in operations if each.acts]
READS = ["openapi.json", *(each.path for each in operations if not each.acts)]
EVERY = [*(("GET", path) for path in READS), *(("POST", path) for path in ACTS)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop_with_a_task(tmp_path / "memory.db") as app:
        yield app


@pytest.fixture
def pages(app: Celery) -> Starlette:
    return create_app(app.fullresult, users=USERS, token=TOKEN)


def logged_in(pages: Any, name: str) -> Browser:
    browser = Browser(pages)
    browser.submit(browser.get("/login").form("/login"), name=name, password=PASSWORD)
    return browser


def ask(client: Client, method: str, path: str, **more: Any) -> Any:
    if method == "GET":
        return client.get(path, {"offline": "true"} if path == "queues" else None, **more)
    return client.post(path, {"nothing": "of this kind"}, **more)


# --- roles


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_each_address_asks_who_it_is_and_what_they_may(
    app: Celery, pages: Starlette, method: str, path: str
) -> None:
    """A stranger is told nothing; a reader may GET; nobody gets further by a token's beginning."""
    stranger = ask(Client(Browser(pages)), method, path)
    guess = ask(Client.with_token(pages, OF_OPERATOR[:-1]), method, path)
    reader = ask(Client.with_token(pages, OF_READER), method, path)
    operator = ask(Client.with_token(pages, OF_OPERATOR), method, path)

    for answer in (stranger, guess):
        # Of a POST, it is known earlier that no page of ours sent it.
        assert answer.status in ((401,) if method == "GET" else (401, 403))
        told(answer, answer.status)
        assert "shop.charge" not in answer.text
        assert "location" not in answer.headers
    assert reader.status == (403 if method == "POST" else operator.status)
    assert operator.status in ((200, 400) if method == "GET" else (400,))
    assert browsing.sent(app) == []
    assert app.fullresult.count() == 1


def test_a_stranger_is_told_how_to_come_in(pages: Starlette) -> None:
    answer = Client(Browser(pages)).get("tasks")

    assert "new-token" in told(answer, 401)["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="fullresult"'


def test_a_token_in_an_address_lets_nobody_in(pages: Starlette) -> None:
    client = Client(Browser(pages))

    for token in (TOKEN, OF_OPERATOR):
        answer = client.get("tasks", {"token": token})
        assert answer.status == 401
        assert not [c for c in answer.headers.get_list("set-cookie") if "session" in c]
        assert token not in answer.text
        named = client.browser.get(f"{ROOT}/tasks?access_token={token}", follow=False)
        assert named.status == 401


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic TOKEN", "Bearer HASH", "TOKEN"])
def test_what_is_no_token_lets_nobody_in(pages: Starlette, value: str) -> None:
    sent = value.replace("TOKEN", OF_OPERATOR).replace("HASH", hash_token(OF_OPERATOR))
    browser = Browser(pages, headers={"authorization": sent})

    assert Client(browser).get("tasks").status == 401


def test_a_person_of_the_host_framework_has_their_role(app: Celery) -> None:
    def who(request: Request) -> Person | None:
        role = request.headers.get("x-role")
        return Person("eve", role) if role in ("reader", "operator") else None  # type: ignore[arg-type]

    pages = create_app(app.fullresult, authenticate=who)
    found = {
        role: Client(Browser(pages, headers={"x-role": role})).post(
            "cancel", {"ids": ["a"]}, headers=SAME_SITE
        )
        for role in ("reader", "operator", "nobody")
    }

    assert {role: answer.status for role, answer in found.items()} == {
        "reader": 403, "operator": 409, "nobody": 401
    }  # fmt: skip


# --- other sites


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"origin": BASE, "sec-fetch-site": "none"},
        {"origin": BASE, "sec-fetch-site": "same-origin", "content-type": "text/plain"},
        {**SAME_SITE, "content-type": "application/x-www-form-urlencoded"},
        {**SAME_SITE, "content-type": "multipart/form-data; boundary=x"},
    ],
)
def test_by_a_cookie_no_other_site_acts(
    shared: Browser, path: str, headers: dict[str, str]
) -> None:
    answer = Client(shared).post(path, {"ids": ["a"]}, headers=headers)

    assert answer.status == (415 if "content-type" in headers else 403)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """An operator who is logged in, for tests in which nothing happens."""
    with browsing.shop(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'memory.db'}") as app:
        yield logged_in(create_app(app.fullresult, users=USERS), "ada")


def test_by_a_cookie_a_page_of_this_site_acts(app: Celery, pages: Starlette) -> None:
    ada, bob = logged_in(pages, "ada"), logged_in(pages, "bob")

    assert told(Client(bob).get("tasks"))["tasks"]
    assert Client(bob).post("retry", {"ids": ["a"]}, headers=SAME_SITE).status == 403
    assert Client(ada).post("retry", {"ids": ["a"]}, headers=SAME_SITE).status == 200
    assert len(browsing.sent(app)) == 1


def test_a_wrong_token_beside_a_cookie_needs_the_same_site_all_the_same(
    app: Celery, pages: Starlette
) -> None:
    browser = logged_in(pages, "ada")
    browser.headers = {"authorization": "Bearer guess"}

    assert Client(browser).post("retry", {"ids": ["a"]}).status == 403
    assert browsing.sent(app) == []


def test_no_other_site_may_read(pages: Starlette) -> None:
    browser = logged_in(pages, "ada")

    answer = Client(browser).get("tasks", headers={"origin": "http://evil.example"})
    asked = browser.ask(
        "OPTIONS",
        f"{ROOT}/tasks",
        headers={"origin": "http://evil.example", "access-control-request-method": "POST"},
    )

    for each in (answer, asked):
        assert not [name for name in each.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["evil.example", ""])
def test_a_name_that_was_bound_to_us_is_not_answered(pages: Starlette, host: str) -> None:
    browser = Browser(pages, headers={"host": host, "authorization": f"Bearer {OF_OPERATOR}"})

    assert told(Client(browser).get("tasks"), 421)["title"] == "Misdirected Request"


# --- methods, bodies, headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_mean_nothing(pages: Starlette, method: str) -> None:
    client = Client.with_token(pages, OF_OPERATOR)

    for path in ("tasks", "retry"):
        answer = client.browser.ask(method, f"{ROOT}/{path}")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"


def test_an_act_is_no_get_and_a_read_no_post(app: Celery, pages: Starlette) -> None:
    client = Client.with_token(pages, OF_OPERATOR)

    for path in ACTS:
        if path not in READS:
            assert client.get(path, {"ids": "a"}).status == 405, path
    assert told(client.post("tasks"), 405)["detail"].endswith("the header Allow says how.")
    assert browsing.sent(app) == []


@pytest.mark.parametrize("header", ["x-http-method-override", "x-http-method", "x-method-override"])
def test_no_header_makes_another_method_of_it(app: Celery, pages: Starlette, header: str) -> None:
    browser = Browser(pages, headers={header: "POST", "authorization": f"Bearer {OF_OPERATOR}"})

    assert Client(browser).get("retry", {"ids": "a"}).status == 405
    assert Client(browser).get("tasks", {"_method": "POST"}).status == 400
    assert browsing.sent(app) == []


@pytest.mark.parametrize("path", READS)
def test_a_head_is_a_get_without_its_body(shared: Browser, path: str) -> None:
    got = shared.get(f"{ROOT}/{path}", follow=False)
    head = shared.ask("HEAD", f"{ROOT}/{path}", follow=False)

    assert (head.status, head.text) == (got.status, "")


def test_every_answer_is_kept_by_no_cache_and_is_no_page(pages: Starlette) -> None:
    client = Client.with_token(pages, OF_OPERATOR)

    for answer in (
        client.get("tasks"),
        client.get("openapi.json"),
        client.get("nope"),
        client.get("task", {"id": "<script>alert(1)</script>"}),
        client.post("retry", {"ids": ["a"]}),
        Client(Browser(pages)).get("tasks"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")


def test_a_body_that_is_too_large_is_not_read_to_its_end(pages: Starlette) -> None:
    taken = 0

    async def much() -> Any:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b" " * 1_000_000

    client = Client.with_token(pages, OF_OPERATOR)
    headers = {"content-type": "application/json"}
    answer = client.browser.ask("POST", f"{ROOT}/retry", content=much(), headers=headers)

    assert "larger than 4,194,304 bytes" in told(answer, 413)["detail"]


def test_a_readers_body_is_not_read(pages: Starlette) -> None:
    client = Client.with_token(pages, OF_READER)

    answer = client.post("retry", b"[" * 5_000_000)

    assert answer.status == 403


def test_what_a_task_says_is_data_only(app: Celery, pages: Starlette) -> None:
    evil = "</script><script>alert(1)</script>\x1b[2J\u2028\ud800"
    app.send_task(f"evil.{evil[:20]}", (evil,), task_id="e")

    answer = Client.with_token(pages, OF_READER).get("task", {"id": "e"})

    assert answer.text.isascii()
    assert "\x1b" not in answer.text
    assert "<script>alert(1)" in json.loads(answer.text)["argsrepr"]


def test_addresses_below_the_api_are_problems_and_those_of_pages_are_pages(
    pages: Starlette,
) -> None:
    browser = logged_in(pages, "ada")

    for path in ("/api/", "/api/v2/tasks", "/api/v1", "/api/v1/../tasks", "/api/v1/%2e%2e/tasks"):
        answer = browser.get(path, follow=False)
        assert answer.status in (404, 307), path
    assert browser.get("/apis").headers["content-type"].startswith("text/html")
    assert told(browser.get("/api/v1/none"), 404)["detail"].startswith("There is no such address")
