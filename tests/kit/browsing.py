"""A browser without windows for the web pages: an ASGI app asked in this process.

It sends what a browser would send of itself: cookies, and with a form Origin and Sec-Fetch-Site.
`Page` is an answer, whose `forms` can be filled in and sent.
"""

from __future__ import annotations

import asyncio
import html
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin
from uuid import uuid4

import httpx
import uvicorn
from celery import Celery
from celery.app.task import Context

from fullresult import FullResult
from fullresult.web import create_app

BASE = "http://127.0.0.1:8766"


@dataclass
class SentForm:
    """A form of a page: where it goes, and the fields it sends."""

    method: str
    action: str
    fields: list[tuple[str, str]]
    form_id: str = ""


@dataclass
class Page:
    """An answer."""

    status: int
    headers: httpx.Headers
    text: str
    url: str

    @property
    def words(self) -> str:
        """What a person reads."""
        without = re.sub(r"<(script|style)\b.*?</\1>", " ", self.text, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without)).split())

    @property
    def forms(self) -> list[SentForm]:
        reader = _Forms()
        reader.feed(self.text)
        return reader.forms

    def form(self, action: str, method: str = "post") -> SentForm:
        """The form that goes to *action*."""
        (found,) = [
            form
            for form in self.forms
            if form.method == method and form.action.partition("?")[0].endswith(action)
        ]
        return found

    @property
    def links(self) -> list[str]:
        return [html.unescape(href) for href in re.findall(r'<a\b[^>]*\bhref="([^"]*)"', self.text)]


class _Forms(HTMLParser):
    """Reads the forms of a page, with what their fields are filled with."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[SentForm] = []
        self._inside = False
        self._area: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            form = SentForm(given.get("method", "get"), given["action"], [], given.get("id", ""))
            self.forms.append(form)
            self._inside = True
        elif tag == "input" and self._inside and "name" in given:
            self.forms[-1].fields.append((given["name"], given.get("value", "")))
        elif tag == "textarea" and self._inside:
            self._area = given["name"]
            self.forms[-1].fields.append((self._area, ""))

    def handle_data(self, data: str) -> None:
        if self._area:
            name, before = self.forms[-1].fields[-1]
            self.forms[-1].fields[-1] = (name, before + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area:
            name, text = self.forms[-1].fields[-1]
            self.forms[-1].fields[-1] = (name, text.removeprefix("\n"))
            self._area = None
        elif tag == "form":
            self._inside = False


@dataclass
class Browser:
    """Asks *app*, keeps its cookies, and follows redirects."""

    app: Any
    base: str = BASE
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def get(self, path: str = "/", *, follow: bool = True, **more: Any) -> Page:
        return self.ask("GET", path, follow=follow, **more)

    def post(
        self,
        path: str,
        fields: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        *,
        follow: bool = True,
        headers: Mapping[str, str | None] | None = None,
    ) -> Page:
        """Send a form; *headers* that are None are not sent."""
        sent: dict[str, str | None] = {
            "origin": self.base,
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
            **(headers or {}),
        }
        body = urlencode(list(fields.items()) if isinstance(fields, Mapping) else list(fields))
        given = {name: value for name, value in sent.items() if value is not None}
        return self.ask("POST", path, follow=follow, content=body, headers=given)

    def submit(self, form: SentForm, follow: bool = True, **filled: str | Sequence[str]) -> Page:
        """Send a form of a page, with some fields filled in."""
        fields = [pair for pair in form.fields if pair[0] not in filled]
        for name, value in filled.items():
            values = [value] if isinstance(value, str) else value
            fields += [(name, each) for each in values]
        if form.method == "post":
            return self.post(form.action, fields, follow=follow)
        return self.get(f"{form.action}?{urlencode(fields)}", follow=follow)

    def ask(self, method: str, path: str, *, follow: bool = True, **more: Any) -> Page:
        return asyncio.run(self._ask(method, path, follow, more))

    async def _ask(self, method: str, path: str, follow: bool, more: dict[str, Any]) -> Page:
        headers = {**self.headers, **more.pop("headers", {})}
        transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 40000))
        async with httpx.AsyncClient(
            transport=transport, cookies=self.cookies, follow_redirects=follow
        ) as client:
            answer = await client.request(method, urljoin(self.base, path), headers=headers, **more)
            self.cookies = httpx.Cookies(client.cookies)
        return Page(answer.status_code, answer.headers, answer.text, str(answer.url))


@contextmanager
def served(pages: Any) -> Iterator[str]:
    """*pages* behind a real socket; their address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(pages, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def keys(page: Page) -> list[str]:
    """The values of the check boxes of a listing."""
    marked = page.text.split('<input type="checkbox" name="key" value="')[1:]
    return [html.unescape(each.partition('"')[0]) for each in marked]


TOKEN = "the-start-up-token"


@contextmanager
def shop(storage_url: str, **settings: Any) -> Iterator[Celery]:
    """A recorded app with the tasks `shop.charge` and `shop.mail`, whose broker takes all."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=storage_url,
        fullresult_schedule_eta=True,
        task_default_queue=f"queue-{uuid4().hex[:12]}",
    )
    app.conf.update(settings)
    full = FullResult(app)
    full.setup()

    # Shared, they would be in every app that is made while this one lives.
    @app.task(name="shop.charge", shared=False)  # type: ignore[untyped-decorator]
    def charge(order_id: int, amount: float = 1) -> float:
        return order_id * amount

    @app.task(name="shop.mail", bind=True, shared=False)  # type: ignore[untyped-decorator]
    def mail(self: Any, to: str) -> None: ...

    try:
        yield app
    finally:
        full.close()
        app.close()


def entered(app: Celery, **options: Any) -> Browser:
    """The pages of *app*, to whose start-up link somebody has gone."""
    browser = Browser(create_app(app.fullresult, token=TOKEN, **options))
    assert browser.get(f"/?token={TOKEN}").status == 200
    return browser


def ran(app: Celery, task_id: str, name: str, error: BaseException | None = None) -> None:
    """What a worker would tell of a task that it ran: that it failed by *error*, or succeeded."""
    recorder = app.fullresult.recorder
    request = Context({"id": task_id, "hostname": "w1@host", "args": [], "kwargs": {}})
    recorder.started(task_id, name, request)
    if error is not None:
        recorder.failed(task_id, name, request, error, None)
    else:
        recorder.succeeded(request, name, {"total": 7}, 0.25, False)


def charge(app: Celery, number: int = 1, **options: Any) -> list[str]:
    """So many calls of `shop.charge`, and their ids."""
    task = app.tasks["shop.charge"]
    return [task.apply_async((i,), {"amount": i / 2}, **options).id for i in range(number)]


def in_turn(app: Celery) -> str:
    """A call whose record is of a later millisecond than all before: lists know no finer order."""
    storage = app.fullresult.storage
    now = storage.now()
    while storage.now() == now:
        pass
    return charge(app)[0]


def failed(app: Celery, number: int = 1) -> list[str]:
    """So many calls, when a worker has taken and failed them."""
    ids = charge(app, number)
    for task_id in ids:
        ran(app, task_id, "shop.charge", ValueError("card declined"))
    sent(app)
    return ids


@contextmanager
def shop_with_a_task(file: Path) -> Iterator[Celery]:
    """The shop with its records in *file*, where a `shop.charge` with the id `a` was published."""
    with shop(f"sqlite:///{file}") as app:
        app.send_task("shop.charge", (1,), task_id="a")
        sent(app)
        yield app


def sent(app: Celery, queue: str | None = None) -> list[dict[str, Any]]:
    """The messages on a queue of the broker, taken from it: id, args and kwargs."""
    found = []
    name = queue or app.conf.task_default_queue
    with app.connection_for_read() as connection, connection.SimpleQueue(name) as waiting:
        while waiting.qsize():
            message = waiting.get(block=False)
            message.ack()
            args, kwargs, _ = message.payload
            found.append({"id": message.headers["id"], "args": args, "kwargs": kwargs})
    return found
