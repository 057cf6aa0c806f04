"""Passwords in URLs reach no log, no error, no repr and no output, whatever goes wrong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from fullresult import FullResult
from fullresult.cli.group import fullresult as commands
from fullresult.config import Settings, namespace_of, without_password
from fullresult.config.urls import is_escaped, without_user

SECRET = "s3cr3t"
PORT = 1
"""Where nobody listens."""

URLS = [
    f"postgresql://u:{SECRET}@127.0.0.1:{PORT}/d",
    f"postgresql://127.0.0.1:{PORT}/d?user=u&password={SECRET}",
    f"postgresql://127.0.0.1:{PORT}/d?user=u&pass%77ord={SECRET}",
    f"postgresql://u:{quote('%@/:' + SECRET, safe='')}@127.0.0.1:{PORT}/d",
    f"postgresql://u:{SECRET}/x@127.0.0.1:{PORT}/d",
    f"postgresql://u:x/{SECRET}@127.0.0.1:{PORT}/d",
    f"postgresql://u:x@{SECRET}@127.0.0.1:{PORT}/d",
    f"postgresql://u:x#{SECRET}@127.0.0.1:{PORT}/d",
    f"postgresql://u:x?{SECRET}@127.0.0.1:{PORT}/d",
    f"postgresql://u:[{SECRET}@127.0.0.1:{PORT}/d",
    f"postgresql://u:{SECRET}%zz@127.0.0.1:{PORT}/d",
    f"postgresql://u:{SECRET}",
    f"postgresql://u:{SECRET}@127.0.0.1:{PORT}/d?no_such_option=1",
    f"postgresql://u:{SECRET}@127.0.0.1:{PORT}/d?synchronous=wrong",
    f"postgresql://u:{SECRET}@127.0.0.1:{PORT}/d?sslmode=verify-full&sslpassword={SECRET}",
    f"postgresql://u:{SECRET}@127.0.0.1:{PORT}/d?passfile=/{SECRET}",
    f"mongodb://u:{SECRET}@127.0.0.1:{PORT}/d",
    f"mongodb://u:{quote('%@/:' + SECRET, safe='')}@127.0.0.1:{PORT}/d",
    f"mongodb://u:{SECRET}/x@127.0.0.1:{PORT}/d",
    f"mongodb://u:x/{SECRET}@127.0.0.1:{PORT}/d",
    f"mongodb://u:x@{SECRET}@127.0.0.1:{PORT}/d",
    f"mongodb://u:x:{SECRET}@127.0.0.1:{PORT}/d",
    f"mongodb://u:{SECRET}%zz@127.0.0.1:{PORT}/d",
    f"mongodb://u:{SECRET}@127.0.0.1:{PORT}/d?no_such_option=1",
    f"mongodb://u:{SECRET}@127.0.0.1:{PORT}/d?fullresult_prefix=$",
    f"mongodb://u:{SECRET}@127.0.0.1:{PORT}/d?w=x&journal=7&authMechanism=none",
    f"mongodb://127.0.0.1:{PORT}/?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
    f"mongodb://127.0.0.1:{PORT}/?tls=true&tlsCertificateKeyFilePassword={SECRET}",
    f"mongodb+srv://u:{SECRET}@no-such-host.invalid/d",
    f"mongodb+srv://u:{SECRET}@localhost/d",
    f"mongodb+srv://u:{SECRET}@a.b.invalid:27017/d",
    f"mysql://u:{SECRET}@h/d",
    f"u:{SECRET}@h/d",
    f"host=h user=u password={SECRET}",
    f"host=h user=u password='a {SECRET}'",
    f"sqlite://u:{SECRET}@h/d",
    f"sqlite:///file.db?password={SECRET}",
]
BROKERS = [
    f"redis://:{SECRET}@127.0.0.1:{PORT}/0",
    f"redis://u:{quote('/' + SECRET, safe='')}@127.0.0.1:{PORT}/0",
    f"redis://127.0.0.1:{PORT}/0?password={SECRET}",
    f"rediss://:{SECRET}@127.0.0.1:{PORT}/0?ssl_cert_reqs=none",
    f"amqp://u:{SECRET}@127.0.0.1:{PORT}//",
    f"amqp://u:{SECRET}@127.0.0.1:{PORT}//;amqp://u:{SECRET}@127.0.0.1:{PORT}//",
    f"sqs://key:{SECRET}/+x@",
]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """All that was logged and printed, and what is given, exceptions with their causes."""
    caplog.set_level(logging.DEBUG, logger="fullresult")

    def text(*more: Any) -> str:
        shown = [_shown(each) for each in more]
        records = [r.getMessage() + (r.exc_text or "") for r in caplog.records]
        ours = [line for line, r in zip(records, caplog.records, strict=True) if _is_ours(r)]
        return "\n".join([*ours, *capfd.readouterr(), *shown])

    return text


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.startswith("fullresult")


def _shown(value: Any) -> str:
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception(value)) + repr(value)
    return f"{value} {value!r}"


def app_of(storage: str, **settings: Any) -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=storage, fullresult_storage_timeout=0.5, fullresult_spool_directory=None
    )
    app.conf.update(settings)
    FullResult(app)
    return app


def errors_of(*calls: Callable[[], Any]) -> list[Any]:
    """What each call answers or raises."""
    found = []
    for call in calls:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001
            found.append(error)
    return found


@pytest.mark.parametrize("url", URLS)
def test_a_password_of_the_storage_is_never_seen(
    url: str, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of(url)
    full = app.fullresult

    with closing(app):
        answers = errors_of(
            lambda: Settings.of(app),
            lambda: full.storage,
            lambda: vars(full.storage),
            lambda: full.settings,
            full.setup,
            lambda: full.get("one"),
            lambda: app.send_task("shop.pay", ["x"]),
            full.find,
            lambda: full.resend("one"),
            lambda: repr(full),
            full.close,
        )
        outputs = [
            CliRunner().invoke(commands, words, obj=_context(app))
            for words in (["list"], ["setup"], ["setup", "--sql"], ["scheduled"])
        ]
    texts = [_shown(a) for a in outputs] + [o.output + o.stderr for o in outputs]
    shown = said(*answers, *texts, *[o.exception for o in outputs if o.exception])

    assert SECRET not in shown


def _context(app: Celery) -> Any:
    from celery.bin.base import CLIContext

    return CLIContext(app=app, no_color=True, workdir=None)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(url, marks=() if number % 4 == 0 else pytest.mark.campaign)
        for number, url in enumerate(URLS)
        if "://" in url  # of anything else Celery itself says that there is no such backend
    ],
)
def test_a_password_of_the_result_backend_is_never_seen(
    url: str, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of(f"sqlite:///{tmp_path}/records.db", result_backend=f"fullresult+{url}")

    with closing(app), closing(app.fullresult):
        answers = errors_of(
            lambda: str(app.backend.as_uri()),
            lambda: app.backend.get_state("one"),
            lambda: app.backend.store_result("one", 7, "SUCCESS"),
            lambda: app.backend._here.recorder.settings,
        )

    assert SECRET not in said(*answers)


@pytest.mark.parametrize("url", BROKERS)
def test_a_password_of_the_broker_is_never_seen(
    url: str, said: Callable[..., str], tmp_path: Any
) -> None:
    """Nor stored: what is scheduled names its broker."""
    quick = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    app = app_of(
        f"sqlite:///{tmp_path}/records.db",
        broker_url=url,
        broker_transport_options={"region": "x", "predefined_queues": {}, **quick},
        fullresult_schedule_eta=True,
        fullresult_storage_timeout=2,
    )
    full = app.fullresult

    with closing(app), closing(full):
        answers = errors_of(
            lambda: app.send_task("shop.pay", task_id="now", retry=False, ignore_result=True),
            lambda: app.send_task("shop.pay", task_id="later", countdown=600),
            full.scheduled,
            lambda: full.resend_scheduled("later"),
            lambda: full.resend("later", retry=False),
            lambda: full.settings,
            lambda: vars(full.get("now")),
            lambda: vars(full.get("later")),
        )
        output = CliRunner().invoke(commands, ["scheduled", "--json"], obj=_context(app))
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())

    assert SECRET not in said(*answers, output.output)
    assert SECRET not in namespace_of(app)
    assert SECRET.encode() not in held


@pytest.mark.slow
def test_a_wrong_password_is_not_told_to_the_logs_of_its_client(
    postgresql_server: str, said: Callable[..., str]
) -> None:
    place = postgresql_server.rpartition("@")[2].partition("/")[0]
    app = app_of(f"postgresql://nobody:{SECRET}@{place}/postgres")

    with closing(app), closing(app.fullresult):
        (error,) = errors_of(lambda: app.fullresult.get("one"))

    assert "nobody" in str(error)
    assert SECRET not in said(error)


WORDS = st.text("abz09%._~-", max_size=6)
ODD = st.text("ab/@:?#;&=%[] \n\\'\"", max_size=12)


@given(
    scheme=st.sampled_from(["postgresql", "mongodb", "mongodb+srv", "redis", "amqp", "x"]),
    user=WORDS,
    before=ODD,
    after=ODD,
    place=st.sampled_from(["h", "h:5432", "[::1]:5432", "h1:1,h2:2", ""]),
    rest=st.sampled_from(["", "/d", "/d?a=b", "/d?a=b&c=d", "?a=b"]),
)
@example("amqp", "u", "", ";amqp://v:x", "h", "")
def test_whatever_a_password_is_made_of_it_is_not_shown(
    scheme: str, user: str, before: str, after: str, place: str, rest: str
) -> None:
    url = f"{scheme}://{user}:{before}{SECRET}{after}@{place}{rest}"

    assert SECRET not in without_password(url)
    assert SECRET not in without_user(url)


@given(
    name=st.sampled_from(
        ["password", "PASSWORD", "sslpassword", "token", "a_secret", "p%61ssword"]
    ),
    before=st.text("ab/@:?#;=%[] ", max_size=8),
    after=st.text("ab/@:?#;=%[] ", max_size=8),
    mark=st.sampled_from("?&;"),
)
def test_whatever_an_option_with_a_password_is_made_of_it_is_not_shown(
    name: str, before: str, after: str, mark: str
) -> None:
    url = f"postgresql://u@h/d?a=b{mark}{name}={before}{SECRET}{after}&c=d"

    assert SECRET not in without_password(url)
    assert SECRET not in without_user(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/a@b/records.db",
        "sqlite:///records.db?synchronous=FULL",
        "postgresql://h/d",
        "postgresql://u@h:5432/d?sslmode=require",
        "postgresql://[::1]:5432/d",
        "postgresql:///d?host=/run/postgresql",
        "mongodb://h1:1,h2:2/d?replicaSet=rs0",
        "mongodb://u@%2Ftmp%2Fmongodb.sock/d",
        "amqp://u@h1//;amqp://u@h2//",
        "filesystem://",
        "",
        "nothing",
    ],
)
def test_what_holds_no_password_is_shown_as_it_is(url: str) -> None:
    assert without_password(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s@h:1/d?a=b", "postgresql://u:***@h:1/d?a=b"),
        ("redis://:s@h/0", "redis://:***@h/0"),
        ("mongodb://u:s@h1,h2/d?tls=true", "mongodb://u:***@h1,h2/d?tls=true"),
        ("postgresql://h/d?password=s&a=b", "postgresql://h/d?password=***&a=b"),
        ("postgresql://u:a/b@h/d", "postgresql://u:***@h/d"),
    ],
)
def test_all_but_the_password_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_credentials_are_escaped_or_not() -> None:
    escaped = ["a://u:p@h", "a://h?b=x@y", "a://u:p%40@h", "a://u:a:b@h", "a://h"]
    unescaped = ["a://u:p/q@h", "a://u:p@q@h", "a://u:p%q@h"]

    assert list(map(is_escaped, escaped)) == [True] * 5
    assert list(map(is_escaped, unescaped)) == [False] * 3


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://h/db?user=u&password={SECRET} battery",
        f"postgresql://h/db?password={SECRET}%",
        f"postgresql://h/db?password=a&{SECRET}",
        f"postgresql://u:correct {SECRET} battery@h/db",
        f"postgresql://h:5432:{SECRET}/db",
        f"postgresql://u:{SECRET}@h/db?options=-c%20x={SECRET}",
    ],
)
def test_what_libpq_cannot_read_is_refused_and_not_quoted(url: str) -> None:
    app = Celery("shop", set_as_current=False)
    app.conf.fullresult_storage = url

    with pytest.raises(ImproperlyConfigured, match=r"libpq cannot read|percent-encoded") as raised:
        FullResult(app).count()

    if "options" not in url:  # which is no secret, and shown as it is
        assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
