"""Who gets in, who may act, and what a browser may be made to do: nothing but what we meant.

Long because each way in is a few lines, and there are many.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from fullresult.config.oidc import read_oidc
from fullresult.config.passwords import hash_password, hash_token, is_password, new_token
from fullresult.config.users import Users, read_users
from fullresult.web import Person, create_app
from fullresult.web.sessions import LIFE, Sessions
from fullresult.web.throttle import MOST, WITHIN, Throttle, Who
from tests.kit import browsing
from tests.kit.browsing import BASE, TOKEN, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from starlette.applications import Starlette
    from starlette.requests import Request

PASSWORD = "correct horse"
HASH = hash_password(PASSWORD, n=16, p=1)  # Quickly, as nobody should.
API_TOKEN = new_token()
USERS = {
    "ada": {"password": HASH, "role": "operator"},
    "bob": {"password": HASH},
    "robot": {"token": hash_token(API_TOKEN), "role": "operator"},
}
GET_PAGES = (
    *("/", "/task?id=a", "/retry?id=a", "/edit?id=a", "/scheduled", "/stale", "/stale-scheduled"),
    *(
        "/orphans",
        "/periodic",
        "/overview",
        "/workers",
        "/queues",
        "/why?id=a",
        "/audit",
        "/metrics",
        "/failures",
        "/trigger?name=often",
        "/surgery?id=a&how=fork",
        "/replays",
        "/replay-create?q=state:FAILURE",
    ),
    *("/cancel?id=a", "/reschedule?id=a", "/release?id=a", "/send-now?id=a", "/suggest?word=n"),
)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop_with_a_task(tmp_path / "memory.db") as app:
        yield app


@pytest.fixture
def pages(app: Celery) -> Starlette:
    return create_app(app.fullresult, users=USERS, token=TOKEN)


def log_in(pages: Any, name: str, password: str = PASSWORD, **more: Any) -> Browser:
    browser = Browser(pages, **more)
    browser.submit(browser.get("/login").form("/login"), name=name, password=password)
    return browser


def posts(pages: Starlette) -> list[str]:
    """Every address of a page that acts; those of the API have tests of their own."""
    return [
        route.path
        for route in pages.routes
        if isinstance(route, Route)
        and "POST" in (route.methods or ())
        and not route.path.startswith("/api/")
    ]


# --- getting in


@pytest.mark.parametrize("path", GET_PAGES)
def test_a_stranger_sees_no_page(pages: Starlette, path: str) -> None:
    answer = Browser(pages).get(path, follow=False)

    assert answer.status == 303
    assert answer.headers["location"].startswith("/login")
    assert "shop.charge" not in answer.text


def test_without_passwords_a_stranger_is_told_to_take_the_link(app: Celery) -> None:
    answer = Browser(create_app(app.fullresult, token=TOKEN)).get("/")

    assert answer.status == 401
    assert "Open the link that was printed" in answer.words


def test_the_link_makes_a_session_and_leaves_the_address(pages: Starlette) -> None:
    browser = Browser(pages)

    entered = browser.get(f"/stale?token={TOKEN}&older=2h", follow=False)

    assert (entered.status, entered.headers["location"]) == (303, "/stale?older=2h")
    cookie = next(
        c for c in entered.headers.get_list("set-cookie") if c.startswith("fullresult_session")
    )
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    assert browser.get("/").status == 200


def test_another_links_token_lets_nobody_in(pages: Starlette) -> None:
    browser = Browser(pages)

    answer = browser.get("/?token=another")

    assert answer.status == 401
    assert browser.get("/", follow=False).status == 303


def test_the_token_never_leads_to_another_host(pages: Starlette) -> None:
    answer = Browser(pages).get(f"//evil.example/?token={TOKEN}", follow=False)

    assert not answer.headers.get("location", "").startswith("//")


def test_a_name_and_its_password_let_in_and_lead_back(pages: Starlette) -> None:
    browser = Browser(pages)
    form = browser.get("/stale?older=2h").form("/login")

    answer = browser.submit(form, name="bob", password=PASSWORD)

    assert answer.status == 200
    assert answer.url == f"{BASE}/stale?older=2h"
    assert "bob (reader)" in answer.words


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil", "\nx"])
def test_a_login_never_leads_to_another_site(pages: Starlette, back: str) -> None:
    browser = Browser(pages)
    form = browser.get("/login").form("/login")

    answer = browser.submit(form, follow=False, name="bob", password=PASSWORD, next=back)

    assert answer.status == 303
    location = answer.headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("robot", ""), ("", "")]
)
def test_a_wrong_name_or_password_lets_nobody_in(
    pages: Starlette, name: str, password: str
) -> None:
    browser = Browser(pages)

    answer = browser.submit(browser.get("/login").form("/login"), name=name, password=password)

    assert answer.status == 403
    assert "The name or the password is wrong." in answer.words
    assert browser.get("/", follow=False).status == 303


def test_guessing_is_slowed_down(pages: Starlette) -> None:
    pages.state.site.users = _Quick({"ada": "right"})
    browser = Browser(pages)
    form = browser.get("/login").form("/login")
    for _ in range(MOST):
        browser.submit(form, name="ada", password="guess")

    answer = browser.submit(form, name="ada", password="right")

    assert answer.status == 429
    assert 0 < int(answer.headers["retry-after"]) <= WITHIN


class _Quick(Users):
    """Users whose passwords are not hashed."""

    def __init__(self, passwords: dict[str, str]) -> None:
        super().__init__({})
        self._passwords = passwords

    @property
    def can_log_in(self) -> bool:
        return True

    def by_password(self, name: str, password: str) -> Person | None:
        return Person(name) if self._passwords.get(name) == password else None


def test_a_throttle_lets_one_try_again_after_a_while() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for _ in range(MOST):
        throttle.failed(Who("ada"))

    before = [throttle.wait(Who("ada")), throttle.wait(Who("bob"))]
    now.append(now.pop() + WITHIN)
    after = throttle.wait(Who("ada"))

    assert [*before, after] == [WITHIN, 0, 0]


def test_a_throttle_bounds_what_all_guess_together() -> None:
    throttle = Throttle(lambda: 0.0)
    for number in range(30):
        throttle.failed(Who(f"somebody {number}"))

    assert throttle.wait(Who("somebody else")) == WITHIN


def test_logging_out_ends_the_session(pages: Starlette) -> None:
    browser = log_in(pages, "ada")

    browser.submit(browser.get("/").form("/logout"))

    assert browser.get("/", follow=False).status == 303


def test_whoever_is_no_longer_a_user_is_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'secret.db'}"
    rest = {name: user for name, user in USERS.items() if name != "bob"}
    with browsing.shop(url, fullresult_web_secret="s" * 32) as app:
        browser = log_in(create_app(app.fullresult, users=USERS), "bob")
        assert browser.get("/").status == 200

        browser.app = create_app(app.fullresult, users=rest)

        assert browser.get("/", follow=False).status == 303


def test_a_program_comes_in_with_its_token(pages: Starlette) -> None:
    good = Browser(pages, headers={"authorization": f"Bearer {API_TOKEN}"})
    bad = Browser(pages, headers={"authorization": f"Bearer {new_token()}"})

    assert good.get("/").status == 200
    assert bad.get("/", follow=False).status == 303
    answer = good.post(
        "/retry", {"id": "a"}, headers={"origin": None, "sec-fetch-site": None}, follow=False
    )
    assert answer.status == 303


def test_nobody_makes_a_page_for_everybody(app: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match="who may come in"):
        create_app(app.fullresult)


def test_users_are_taken_from_the_configuration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'configured.db'}"
    with browsing.shop(url, fullresult_web_users=USERS) as app:
        assert log_in(create_app(app.fullresult), "bob").get("/").status == 200


@pytest.mark.parametrize(
    "users",
    [
        ["ada"],
        {"ada": "secret"},
        {"ada": {"role": "operator"}},
        {"ada": {"password": "secret"}},
        {"ada": {"token": "secret"}},
        {"ada": {"password": HASH, "role": "king"}},
        {"ada": {"password": HASH, "colour": "red"}},
        {" ": {"password": HASH}},
    ],
)
def test_users_that_mean_nothing_are_refused_and_their_secrets_not_told(users: Any) -> None:
    with pytest.raises(ValueError, match="fullresult_web_users") as raised:
        read_users("fullresult_web_users", users)

    assert "secret" not in str(raised.value)


# --- the host


@pytest.mark.parametrize("base", ["http://127.0.0.1:8766", "http://localhost", "http://[::1]:1"])
def test_this_machines_own_names_are_taken(pages: Starlette, base: str) -> None:
    assert Browser(pages, base=base).get(f"/?token={TOKEN}").status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_name_that_was_bound_to_us_is_not(pages: Starlette, host: str) -> None:
    """A page of evil.example that has its name resolve to this machine reads nothing."""
    browser = Browser(pages, headers={"host": host})

    for path in ("/", f"/?token={TOKEN}", "/login", "/static/app.js"):
        answer = browser.get(path)
        assert answer.status == 421, path
        assert TOKEN not in answer.text


def test_a_name_that_is_allowed_is_taken(app: Celery) -> None:
    pages = create_app(app.fullresult, users=USERS, allowed_hosts=["Tasks.Example.com"])

    assert Browser(pages, base="https://tasks.example.com").get("/login").status == 200
    assert Browser(pages, base="http://127.0.0.1").get("/login").status == 421


def test_over_https_cookies_are_secure(app: Celery) -> None:
    pages = create_app(app.fullresult, users=USERS, allowed_hosts=["tasks.example.com"])
    answer = Browser(pages, base="https://tasks.example.com").get("/login")

    assert all("Secure" in cookie for cookie in answer.headers.get_list("set-cookie"))


# --- acting


def test_every_action_is_known_here(pages: Starlette) -> None:
    """So that a new one is looked at."""
    assert set(posts(pages)) == {
        *("/retry", "/edit", "/cancel", "/reschedule", "/release", "/send-now", "/trigger"),
        *(
            "/revoke",
            "/delete",
            "/send",
            "/terminate",
            "/pause-queue",
            "/surgery",
            "/failure",
            "/replay",
            "/replay-create",
            "/login",
            "/logout",
        ),
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": None, "sec-fetch-site": None},
    ],
)
def test_no_form_of_another_site_is_taken(
    app: Celery, pages: Starlette, headers: dict[str, str | None]
) -> None:
    browser = log_in(pages, "ada")
    fields = browser.get("/retry?id=a").form("/retry").fields

    for path in posts(pages):
        answer = browser.post(f"{path}?id=a", fields, headers=headers)
        assert answer.status == 403, path
    assert browsing.sent(app) == []


@pytest.mark.parametrize("token", ["", "guess"])
def test_no_form_without_our_token_is_taken(app: Celery, pages: Starlette, token: str) -> None:
    browser = log_in(pages, "ada")
    fields = browser.get("/retry?id=a").form("/retry").fields
    forged = [(name, token if name == "csrf" else value) for name, value in fields]

    for path in posts(pages):
        answer = browser.post(f"{path}?id=a", forged)
        assert answer.status == 403, path
    assert browsing.sent(app) == []


def test_a_reader_sees_no_action_and_may_take_none(app: Celery, pages: Starlette) -> None:
    browser = log_in(pages, "bob")
    csrf = dict(browser.get("/").form("/logout").fields)["csrf"]

    for path in ("/", "/task?id=a", "/retry?id=a", "/stale?older=0s", "/scheduled"):
        page = browser.get(path)
        assert page.status == 200, path
        assert [form.action for form in page.forms if form.method == "post"] == ["/logout"], path
    for path in {*posts(pages)} - {"/login", "/logout"}:
        fields = {"csrf": csrf, "once": f"once-{path}", "id": "a", "eta": "now", "send": "1"}
        answer = browser.post(f"{path}?id=a", fields)
        assert answer.status == 403, path
        assert "only operators may act" in answer.words
    assert browsing.sent(app) == []


def test_whoever_has_the_link_of_a_read_only_server_is_a_reader(app: Celery) -> None:
    browser = browsing.entered(app, token_role="reader")

    assert "(reader)" in browser.get("/").words


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_mean_nothing(pages: Starlette, method: str) -> None:
    assert log_in(pages, "ada").ask(method, "/").status == 405


def test_looking_changes_nothing(app: Celery, pages: Starlette) -> None:
    browser = log_in(pages, "ada")
    before = app.fullresult.get("a")

    for path in GET_PAGES:
        browser.get(path)

    assert app.fullresult.get("a") == before
    assert browsing.sent(app) == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x", "multipart/form-data; boundary=x", 415),
        (b"a=" + b"x" * 5_000_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a=1" for _ in range(30_000)), "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form_of_ours_is_refused(
    pages: Starlette, content: bytes, kind: str, status: int
) -> None:
    browser = log_in(pages, "ada")
    headers = {"origin": BASE, "sec-fetch-site": "same-origin", "content-type": kind}

    answer = browser.ask("POST", "/retry", content=content, headers=headers)

    assert answer.status == status


# --- what the browser is told


@pytest.mark.parametrize("path", ["/", "/nope", "/login", "/task?id=a", "/static/app.js"])
def test_every_answer_tells_the_browser_what_it_may_not_do(pages: Starlette, path: str) -> None:
    answer = log_in(pages, "ada").get(path, follow=False)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", GET_PAGES)
def test_no_page_has_script_or_style_of_its_own_or_asks_another_host(
    pages: Starlette, path: str
) -> None:
    text = log_in(pages, "ada").get(path).text

    assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', text)


def test_pages_are_kept_by_no_cache_and_files_are_ours(pages: Starlette) -> None:
    browser = log_in(pages, "ada")

    script = re.findall(r'src="([^"]+)"', browser.get("/").text)[0]

    assert browser.get("/").headers["cache-control"] == "no-store"
    assert "immutable" in browser.get(script).headers["cache-control"]
    assert browser.get("/static/nothing").headers["cache-control"] == "no-store"
    assert browser.get("/static/../app.py", follow=False).status == 404
    assert browser.get("/static/%2e%2e/app.py", follow=False).status == 404


# --- mounted elsewhere


def test_the_pages_work_wherever_they_are_mounted(app: Celery) -> None:
    from starlette.applications import Starlette as Host

    host = Host(routes=[Mount("/ops/tasks", create_app(app.fullresult, users=USERS))])
    browser = Browser(host)
    form = browser.get("/ops/tasks/").form("/login")
    assert form.action == "/ops/tasks/login"
    page = browser.submit(form, name="ada", password=PASSWORD)

    answer = browser.submit(browser.get("/ops/tasks/retry?id=a").form("/retry"), follow=False)

    assert page.url == f"{BASE}/ops/tasks/"
    assert all(link.startswith("/ops/tasks/") for link in page.links if not link.startswith("#"))
    assert browser.get("/ops/tasks/static/app.js").status == 200
    assert answer.headers["location"].startswith("/ops/tasks/task?id=")
    assert len(browsing.sent(app)) == 1


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_the_host_framework_may_say_who_it_is(app: Celery, kind: str) -> None:
    def who(request: Request) -> Person | None:
        name = request.headers.get("x-remote-user")
        return Person(name, "operator") if name else None

    async def who_slowly(request: Request) -> Person | None:
        return who(request)

    pages = create_app(app.fullresult, authenticate=who if kind == "plain" else who_slowly)
    ada = Browser(pages, base="https://any.example", headers={"x-remote-user": "ada"})
    nobody = Browser(pages, base="https://any.example")

    assert "ada" in ada.get("/").words
    assert nobody.get("/").status == 401
    assert ada.submit(ada.get("/retry?id=a").form("/retry")).status == 200


def test_the_host_framework_may_send_one_to_its_own_login(app: Celery) -> None:
    pages = create_app(
        app.fullresult, authenticate=lambda _: PlainTextResponse("log in over there", 403)
    )

    assert Browser(pages).get("/").text == "log in over there"


def test_the_pages_stand_beside_django(app: Celery) -> None:
    """As the docs show: one ASGI app that asks Django for all the rest."""
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from starlette.applications import Starlette as Host

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x" * 50)
    pages = create_app(app.fullresult, users=USERS)
    browser = Browser(Host(routes=[Mount("/tasks", pages), Mount("/", ASGIHandler())]))

    assert browser.get("/tasks/login").status == 200
    assert browser.get("/elsewhere").status == 404
    assert "Log in" not in browser.get("/elsewhere").text


urlpatterns: list[Any] = []


# --- hashes and sessions


def test_a_password_is_known_by_its_hash_only() -> None:
    assert is_password(PASSWORD, HASH)
    assert not is_password(PASSWORD + " ", HASH)
    assert PASSWORD not in HASH
    assert hash_password(PASSWORD, n=16) != hash_password(PASSWORD, n=16)


@given(st.text(max_size=120))
def test_no_text_passes_for_a_session(text: str) -> None:
    assert Sessions(b"key").read(text) is None


def test_a_session_is_read_until_it_is_over_and_by_its_own_key_only() -> None:
    text = Sessions(b"key").write("ada", "password", now=1000)

    read = Sessions(b"key").read(text, now=1000 + LIFE)
    assert read is not None
    assert read[:2] == ("password", "ada")
    assert Sessions(b"key").read(text, now=1001 + LIFE) is None
    assert Sessions(b"other").read(text, now=1000) is None
    assert Sessions(b"key").read(text[:-1], now=1000) is None


def test_a_person_has_a_role_that_there_is() -> None:
    with pytest.raises(ValueError, match="reader"):
        Person("ada", "king")  # type: ignore[arg-type]
    assert replace(Person("ada"), role="operator").may_act


# --- the documentation


def test_the_examples_of_the_page_run(app: Celery) -> None:
    page = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    users, provider, framework, django = examples
    known: dict[str, Any] = {"app": app}

    exec(compile(users, "web.md", "exec"), known)
    exec(compile(provider, "web.md", "exec"), known)
    # FastAPI is a Starlette, and mounts as one does.
    starlette = "from starlette.applications import Starlette as FastAPI"
    exec(
        compile(framework.replace("from fastapi import FastAPI", starlette), "web.md", "exec"),
        known,
    )

    assert read_oidc("fullresult_web_oidc", app.conf.fullresult_web_oidc)
    assert read_users("fullresult_web_users", app.conf.fullresult_web_users)["ada"].person.may_act
    assert Browser(known["site"], base="http://any").get("/ops/tasks/healthz").text == "ok\n"
    compile(django, "web.md", "exec")
