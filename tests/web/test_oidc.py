"""Log-in by OpenID Connect, at a provider in a process of its own.

Long because all that a provider or a stranger may send falsely is tried.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.config.oidc import Oidc, read_oidc
from fullresult.config.passwords import hash_token, new_token
from fullresult.web import create_app, oidc
from fullresult.web.pages.oidc import BEGUN
from fullresult.web.throttle import Who
from tests.kit import browsing
from tests.kit.browsing import Browser, Page
from tests.kit.oidc_provider import let_in, provider

KEY = "fullresult_web_oidc"
PEOPLE: tuple[dict[str, Any], ...] = (
    {"sub": "1", "email": "ada@example.com", "email_verified": True},
    {"sub": "2", "email": "bob@example.com", "email_verified": True, "groups": ["ops", 7]},
    {"sub": "3", "email": "eve@example.com", "email_verified": True},
    {"sub": "4", "email": "ada@example.com", "email_verified": False},
    {"sub": "5"},
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider(*PEOPLE) as issuer:
        yield issuer


@pytest.fixture(autouse=True)
def _without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib refuses plain HTTP but for tests."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def settings(issuer: str, **more: Any) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "client_id": "pages",
        "client_secret": "of the pages",
        "operators": ["group:ops"],
        "readers": ["ada@example.com"],
        **more,
    }


@pytest.fixture
def pages(app: Celery, issuer: str) -> Any:
    return create_app(app.fullresult, oidc=settings(issuer))


def begin(browser: Browser, path: str = "oidc") -> str:
    """The address at the provider to which the browser is sent."""
    answer = browser.get(f"/{path}", follow=False)
    assert answer.status == 303, answer.text
    return answer.headers["location"]


def log_in(browser: Browser, subject: str, path: str = "oidc") -> Page:
    """What the browser is shown when it comes back."""
    return browser.get(let_in(begin(browser, path), subject), follow=False)


# --- who comes in


def test_people_come_in_with_the_role_that_they_or_their_groups_have(
    app: Celery, pages: Any
) -> None:
    (task_id,) = browsing.charge(app)
    ada, bob = Browser(pages), Browser(pages)

    first = ada.get("/workers", follow=True)
    link = next(link for link in first.links if "/oidc" in link)
    welcome = log_in(ada, "1", link.lstrip("/"))
    assert log_in(bob, "2").status == 200

    assert "/login" in first.url
    assert "Welcome, ada@example.com" in welcome.words
    assert '<meta http-equiv="refresh" content="0;url=/workers">' in welcome.text
    assert "ada@example.com (reader)" in ada.get("/").words
    assert "Retry…" in bob.get(f"/task?id={task_id}").words
    assert "Retry…" not in ada.get(f"/task?id={task_id}").words
    entries = app.fullresult.audit_log(action="log-in")
    assert {(entry.actor, entry.details["way"]) for entry in entries} == {
        ("ada@example.com", "oidc"),
        ("bob@example.com", "oidc"),
    }


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("3", "You are eve@example.com, who may not come in here."),
        ("4", "The provider has not verified your email address."),
        ("5", "The provider does not say your email."),
    ],
)
def test_others_are_told_why_not(pages: Any, subject: str, why: str) -> None:
    browser = Browser(pages)

    answer = log_in(browser, subject)

    assert answer.status == 403
    assert why in answer.words
    assert browser.get("/", follow=False).status == 303


def test_a_name_may_be_another_claim_and_anyone_may_be_let_in(app: Celery, issuer: str) -> None:
    anyone = settings(issuer, name="sub", operators=[], readers=["*"])
    browser = Browser(create_app(app.fullresult, oidc=anyone))

    log_in(browser, "5")

    assert "5 (reader)" in browser.get("/").words


def test_a_log_out_ends_the_session_and_not_only_the_cookie(pages: Any) -> None:
    browser = Browser(pages)
    log_in(browser, "1")
    kept = Browser(pages, cookies=browser.cookies)
    assert kept.get("/").status == 200

    page = browser.submit(browser.get("/").form("/logout"))

    assert "/login" in page.url
    assert kept.get("/", follow=False).status == 303


def test_a_session_ends_when_the_configuration_lets_others_in(app: Celery, issuer: str) -> None:
    app.fullresult.parts.settings.__dict__["web_secret"] = "s" * 40
    browser = Browser(create_app(app.fullresult, oidc=settings(issuer)))
    log_in(browser, "1")
    same = create_app(app.fullresult, oidc=settings(issuer))
    other = create_app(app.fullresult, oidc=settings(issuer, readers=["eve@example.com"]))

    assert Browser(same, cookies=browser.cookies).get("/").status == 200
    assert Browser(other, cookies=browser.cookies).get("/", follow=False).status == 303


def test_passwords_go_on_beside_it(app: Celery, issuer: str) -> None:
    from fullresult.config.passwords import hash_password

    users = {"carl": {"password": hash_password("correct horse", n=16, p=1)}}
    browser = Browser(create_app(app.fullresult, users=users, oidc=settings(issuer)))
    page = browser.get("/login")

    browser.submit(page.form("/login"), name="carl", password="correct horse")

    assert "/oidc" in page.links
    assert "carl (reader)" in browser.get("/").words


def test_a_session_lasts_as_long_as_is_configured(
    app: Celery, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the provider says the role anew: it is not kept for 12 hours."""
    browser = Browser(create_app(app.fullresult, oidc=settings(issuer, session="30m")))
    log_in(browser, "1")
    now = time.time()

    monkeypatch.setattr("fullresult.web.sessions.time.time", lambda: now + 29 * 60)
    assert browser.get("/", follow=False).status == 200
    monkeypatch.setattr("fullresult.web.sessions.time.time", lambda: now + 31 * 60)
    assert browser.get("/", follow=False).status == 303


def test_nobody_comes_in_under_the_name_of_a_local_user(app: Celery, issuer: str) -> None:
    users = {"ada@example.com": {"token": hash_token(new_token()), "role": "operator"}}
    browser = Browser(create_app(app.fullresult, users=users, oidc=settings(issuer)))

    answer = log_in(browser, "1")

    assert answer.status == 403
    assert "as is a user of fullresult_web_users" in answer.words
    assert browser.get("/", follow=False).status == 303
    assert log_in(Browser(browser.app), "2").status == 200


@pytest.mark.parametrize("like", ["ADA@Example.com", "\uff41da@example.com", " ada@example.com"])
def test_nor_under_one_that_people_read_as_the_same(app: Celery, issuer: str, like: str) -> None:
    users = {like: {"token": hash_token(new_token()), "role": "operator"}}
    browser = Browser(create_app(app.fullresult, users=users, oidc=settings(issuer)))

    answer = log_in(browser, "1")

    assert (answer.status, "as is a user of" in answer.words) == (403, True)


# --- what is false


def test_the_provider_is_asked_with_pkce_and_a_nonce(pages: Any) -> None:
    asked = parse_qs(urlsplit(begin(Browser(pages))).query)

    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) == len(asked["state"][0]) == 43
    assert asked["redirect_uri"] == ["http://127.0.0.1:8766/oidc/callback"]


@pytest.mark.parametrize(
    "change",
    [
        lambda back: re.sub("state=[^&]*", "state=guess", back),
        lambda back: re.sub("&?state=[^&]*", "", back),
        lambda back: re.sub("code=[^&]*", "", back),
        lambda back: back + "&error=access_denied&error_description=<script>",
    ],
)
def test_what_was_not_begun_here_is_refused(pages: Any, change: Callable[[str], str]) -> None:
    browser = Browser(pages)
    back = let_in(begin(browser), "1")

    answer = browser.get(change(back), follow=False)

    assert answer.status == 403
    assert "<script>" not in answer.text
    assert browser.get("/", follow=False).status == 303


def test_what_one_browser_began_another_cannot_finish(pages: Any) -> None:
    """Nor can one be made to log in as somebody else: a link to the callback is not enough."""
    back = let_in(begin(Browser(pages)), "2")
    victim = Browser(pages)

    assert victim.get(back, follow=False).status == 403
    begin(victim)
    assert victim.get(back, follow=False).status == 403


def test_a_code_lets_in_once(pages: Any) -> None:
    browser = Browser(pages)
    address = begin(browser)
    kept = Browser(pages, cookies=browser.cookies)
    back = let_in(address, "1")

    assert browser.get(back, follow=False).status == 200
    assert browser.get(back, follow=False).status == 403
    assert kept.get(back, follow=False).status == 502


def test_what_was_begun_is_signed_and_ends(pages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(pages)
    back = let_in(begin(browser), "1")
    (cookie,) = [each for each in browser.cookies.jar if each.name.startswith(BEGUN)]
    assert cookie.value is not None
    forged = cookie.value[:-4] + ("AAAA" if cookie.value[-4:] != "AAAA" else "BBBB")
    browser.cookies.jar.set_cookie(cookie)
    cookie.value, kept = forged, cookie.value
    assert browser.get(back, follow=False).status == 403

    late = Browser(pages)
    back = let_in(begin(late), "1")
    monkeypatch.setattr("fullresult.web.pages.oidc.time.time", lambda: 4_000_000_000.0)
    assert late.get(back, follow=False).status == 403
    assert kept != forged


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "../../x", "\\evil"])
def test_one_comes_back_to_these_pages_alone(pages: Any, path: str) -> None:
    browser = Browser(pages)

    welcome = log_in(browser, "1", f"oidc?next={path}")

    (to,) = re.findall(r'content="0;url=([^"]*)"', welcome.text)
    assert to.startswith("/")
    assert not to.startswith(("//", "/\\"))
    assert ".." not in to


def test_guesses_of_codes_are_throttled(pages: Any) -> None:
    browser = Browser(pages)
    found = []
    for _ in range(7):
        address = begin(browser)
        state = parse_qs(urlsplit(address).query)["state"][0]
        answer = browser.get(f"/oidc/callback?code=guess&state={state}", follow=False)
        found.append(answer.status)

    assert found == [502] * 5 + [429] * 2


def test_wrong_passwords_and_who_is_not_let_in_keep_nobody_else_out(pages: Any) -> None:
    for number in range(30):
        pages.state.site.throttle.failed(Who(f"somebody {number}"))

    refused = [log_in(Browser(pages), "3").status for _ in range(6)]

    assert refused == [403] * 6
    assert log_in(Browser(pages), "1").status == 200


def test_a_name_that_looks_like_a_group_is_none() -> None:
    known = Oidc("https://x", "pages", operators=frozenset({"group:ops", "ada"}))

    assert known.role_of("group:ops", ["others"]) is None
    assert known.role_of("eve", ["ops"]) == known.role_of("ada", []) == "operator"


def test_a_name_is_one_line() -> None:
    here = oidc.Provider(Oidc("https://x", "pages", readers=frozenset("*"), name="nickname"))

    with pytest.raises(oidc.NotLetIn, match="Your nickname has a character that cannot be printed"):
        here._person({"nickname": "ada\nfullresult: a login of eve"})


def test_a_token_that_is_not_of_this_provider_for_these_pages_is_not_believed(issuer: str) -> None:
    known = Oidc(issuer, "pages", "of the pages", readers=frozenset("*"))
    here = oidc.Provider(known)
    url, begun = here.begin("http://127.0.0.1/oidc/callback", "")
    code = parse_qs(urlsplit(let_in(url, "1")).query)["code"][0]
    with here._session("http://127.0.0.1/oidc/callback") as session:
        token = session.fetch_token(f"{issuer}/oauth2/token", code=code)
    assert here._claims(token, begun.nonce)["email"] == "ada@example.com"
    header, payload, signature = token["id_token"].split(".")
    unsigned = f"{encoded({'alg': 'none'})}.{payload}."
    changed = json.loads(decoded(payload)) | {"email": "bob@example.com"}
    by_secret = encoded({"alg": "HS256"})
    other_issuer = replace(known, issuer=issuer.replace("127.0.0.1", "localhost"))

    for provider_, false, nonce, said in (
        (oidc.Provider(other_issuer), token, begun.nonce, "iss"),
        (oidc.Provider(replace(known, client_id="others")), token, begun.nonce, "aud"),
        (here, token, "another", "nonce"),
        (here, token | {"id_token": unsigned}, begun.nonce, "not to be believed"),
        (
            here,
            token | {"id_token": f"{header}.{encoded(changed)}.{signature}"},
            begun.nonce,
            "believed",
        ),
        (here, token | {"id_token": f"{by_secret}.{payload}.{signature}"}, begun.nonce, "believed"),
        (here, token | {"id_token": 7}, begun.nonce, "has no ID token"),
    ):
        with pytest.raises(oidc.ProviderError, match=said):
            provider_._claims(false, nonce)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_token_that_has_ended_is_not_believed(app: Celery) -> None:
    with provider(*PEOPLE, lifetime=-3600) as issuer:
        answer = log_in(Browser(create_app(app.fullresult, oidc=settings(issuer))), "1")

    assert answer.status == 502


def test_a_provider_that_does_not_answer_is_a_sentence(app: Celery) -> None:
    pages = create_app(app.fullresult, oidc=settings("http://127.0.0.1:9"))

    answer = Browser(pages).get("/oidc", follow=False)

    assert answer.status == 502
    assert "does not answer as it should" in answer.words
    assert Browser(create_app(app.fullresult, token="t")).get("/oidc").status == 404


class Metadata(BaseHTTPRequestHandler):
    """A provider that has other metadata than that of *server.known*, and keeps what it is sent."""

    server: Any

    def do_GET(self) -> None:
        self._answer(self.server.metadata)

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        body = parse_qs(self.rfile.read(size).decode())
        self.server.sent.append((self.headers.get("authorization"), body))
        self._answer({"access_token": "x", "token_type": "bearer"})

    def _answer(self, document: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[Any]:
    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        there: Any = server
        there.issuer = f"http://127.0.0.1:{server.server_port}"
        there.sent = []
        there.metadata = {
            "issuer": there.issuer,
            "authorization_endpoint": f"{there.issuer}/authorize",
            "token_endpoint": f"{there.issuer}/token",
        }
        Thread(target=server.serve_forever, daemon=True).start()
        yield there
        server.shutdown()


@pytest.mark.parametrize(
    ("taken", "is_basic"),
    [
        (None, True),
        (["client_secret_post", "client_secret_basic"], True),
        (["client_secret_post"], False),
        (["private_key_jwt"], True),
    ],
)
def test_the_secret_is_sent_in_a_way_that_the_provider_takes(
    odd: Any, taken: list[str] | None, is_basic: bool
) -> None:
    if taken is not None:
        odd.metadata["token_endpoint_auth_methods_supported"] = taken
    here = oidc.Provider(Oidc(odd.issuer, "pages", "of the pages", readers=frozenset("*")))
    _, begun = here.begin("http://127.0.0.1/oidc/callback", "")

    with pytest.raises(oidc.ProviderError, match="the answer has no ID token"):
        here.finish("http://127.0.0.1/oidc/callback", begun, "code")

    ((header, body),) = odd.sent
    assert (header or "").startswith("Basic ") == is_basic
    assert body.get("client_secret") == (None if is_basic else ["of the pages"])


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("address", ["http://login.example.com/x", "file:///etc/passwd", "x"])
def test_addresses_of_the_provider_have_https(odd: Any, name: str, address: str) -> None:
    here = oidc.Provider(Oidc(odd.issuer, "pages", "of the pages", readers=frozenset("*")))
    _, begun = here.begin("http://127.0.0.1/oidc/callback", "")
    odd.metadata[name] = address
    here = oidc.Provider(here.oidc)

    go = partial(here.begin, "http://127.0.0.1/oidc/callback", "")
    come_back = partial(here.finish, "http://127.0.0.1/oidc/callback", begun, "code")

    with pytest.raises(oidc.ProviderError, match=f"its {name} must be an address with https"):
        come_back() if name == "token_endpoint" else go()

    assert not odd.sent


def test_a_provider_that_fails_is_not_asked_by_each_who_comes() -> None:
    asked: list[str] = []
    now = [0.0]

    class Fails(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.wfile.write(b"HTTP/1.0 500 Internal Server Error\r\n\r\n")

    with HTTPServer(("127.0.0.1", 0), Fails) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        issuer = f"http://127.0.0.1:{server.server_port}"
        here = oidc.Provider(Oidc(issuer, "pages", readers=frozenset("*")), lambda: now[-1])
        for moment in (0.0, 4.9, 5.1):
            now.append(moment)
            with pytest.raises(oidc.ProviderError, match="cannot be read: 500 Server Error"):
                here.begin(f"{issuer}/oidc/callback", "")
        server.shutdown()

    assert asked == ["/.well-known/openid-configuration"] * 2


# --- the configuration


def test_it_is_read_from_the_configuration(tmp_path: Path, issuer: str) -> None:
    known = {KEY: settings(issuer)}
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}", **known) as app:
        browser = Browser(create_app(app.fullresult))
        log_in(browser, "1")

        assert browser.get("/").status == 200
        assert "of the pages" not in repr(app.fullresult.settings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"issuer": ""}, "has no 'issuer'"),
        ({"issuer": "http://login.example.com"}, "must be an address with https, not 'http://log"),
        ({"client_id": 7}, "['client_id'] must be text"),
        ({"operators": [], "readers": []}, "lets nobody in"),
        ({"operators": "ada"}, "['operators'] must be a list of texts"),
        ({"session": "13h"}, "from 1 minute to 12 hours, not '13h'"),
        ({"session": 3600}, "must be a timedelta or text such as '1h'"),
        ({"session": "soon"}, "not 'soon'"),
        ({"colour": "red"}, "has no 'colour'; there are issuer, client_id"),
    ],
)
def test_what_is_wrong_is_named(app: Celery, change: dict[str, Any], said: str) -> None:
    given = {**settings("https://login.example.com"), **change}

    with pytest.raises(ValueError, match=re.escape(said)):
        read_oidc(KEY, given)
    with pytest.raises(ImproperlyConfigured, match=re.escape(said)):
        create_app(app.fullresult, oidc=given)
    assert read_oidc(KEY, None) is None
