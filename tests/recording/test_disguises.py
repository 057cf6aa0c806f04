"""A hidden value is found in the text of an error, in whatever way it was written there."""

from __future__ import annotations

import base64
import builtins
import functools
import json
import time
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from celery import Celery, chain, chord, group
from hypothesis import example, given
from hypothesis import strategies as st

from fullresult.config.redaction_rules import read_rules
from fullresult.recording import disguises
from fullresult.recording.masking import MARK
from fullresult.recording.redaction import Redactor
from fullresult.recording.running_tasks import RunningTask
from tests.recording.test_redaction import CARD, sent, shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = 'a/b+c=d\'s "ünï"\\x'
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"

WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "repr of a repr": lambda s: repr(repr(s)),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON with letters": lambda s: json.dumps(s, ensure_ascii=False),
    "JSON in JSON": lambda s: json.dumps(json.dumps({"a": s})),
    "in a list": lambda s: repr([s]),
    "bytes": lambda s: repr(s.encode()),
    "URL": quote,
    "URL, all of it": lambda s: quote(s, safe=""),
    "URL, lower case": lambda s: quote(s, safe="").lower(),
    "form": lambda s: urlencode({"token": s}),
    "form value": quote_plus,
    "hex": lambda s: s.encode().hex(),
    "HEX": lambda s: s.encode().hex().upper(),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "basic authentication": lambda s: base64.b64encode(f"ada:{s}".encode()).decode(),
    "base64 in the middle": lambda s: base64.b64encode(f"xy{s}z".encode()).decode(),
    "upper case": str.upper,
    "lower case": str.lower,
    "title case": str.title,
    "indented": lambda s: "".join(f"  | {line}\n" for line in s.splitlines()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("secret", [SECRET, PEM, "hunter2hunter2", "4111-1111-1111-1111"])
def test_no_disguise_hides_a_hidden_value_from_us(secret: str, way: str) -> None:
    text = f"before {WAYS[way](secret)} after"

    shown = disguises.hider([secret])(text)

    assert MARK in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for line in WAYS[way](secret).splitlines():
        assert line[6:-6] not in shown


@given(st.text(min_size=4, max_size=40), st.sampled_from(sorted(WAYS)), st.text(max_size=20))
@example("\u0130\u0130\u0130\u0130", "as it is", "\u0130")
@example("aaaa", "as it is", "aaa")
def test_nothing_but_a_mark_is_left_of_it(secret: str, way: str, beside: str) -> None:
    if way in ("base64", "base64 for URLs", "basic authentication", "hex", "HEX", "indented"):
        return  # short ones are too much like any other word
    if way in ("upper case", "lower case", "title case", "base64 in the middle"):
        return  # which letters change is not ours to say
    text = WAYS[way](secret)

    shown = disguises.hider([secret])(f"{beside} {text} {beside}")

    assert text not in shown.replace(MARK, "") or text in f"{beside} {MARK} {beside}"


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    assert disguises.hider(["abcdef", "defghi"])("xabcdefghiy") == f"x{MARK}y"


def test_what_stands_beside_stays() -> None:
    hide = disguises.hider(["hunter2"])

    assert hide("user ada, password hunter2!") == f"user ada, password {MARK}!"
    assert hide("nothing of it") == "nothing of it"


def test_very_many_hidden_values_hide_the_whole_text_at_once() -> None:
    began = time.perf_counter()

    shown = disguises.hider([f"secret {n}" for n in range(100_000)])("x" * 100_000)

    assert shown == MARK
    assert time.perf_counter() - began < 1


def test_as_many_as_are_looked_for_take_little_time() -> None:
    values = [f"secret {n:06}" for n in range(disguises.MOST)]
    text = "a traceback " * 1000 + values[-1]
    began = time.perf_counter()

    shown = disguises.hider(values)(text)

    assert MARK in shown
    assert time.perf_counter() - began < 2


# --- what is looked for


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.db"


def error_of(rules: Any, text: str, kwargs: dict[str, Any]) -> str:
    with Celery("shop", set_as_current=False) as app:
        redactor = Redactor(app, read_rules(rules))
        return redactor.of_errors([RunningTask("shop.pay", (), kwargs)])(text)


def test_the_keys_of_a_hidden_dict_are_hidden_but_for_plain_words() -> None:
    accounts = {"4111-1111-2222": 1, "number": "4111-1111-3333", 90210: None}

    text = "KeyError: '4111-1111-2222', number, 90210"
    shown = error_of(["accounts"], text, {"accounts": accounts})

    assert shown == f"KeyError: '{MARK}', number, {MARK}"


GROUP = getattr(builtins, "ExceptionGroup", None)


@pytest.mark.skipif(GROUP is None, reason="from Python 3.11 on")
def test_a_key_of_several_lines_in_a_group_of_errors_is_hidden() -> None:
    assert GROUP is not None
    group_of_errors = GROUP("several", [ValueError(f"bad key {PEM}")])
    text = "".join(traceback.format_exception(group_of_errors))
    assert PEM.splitlines()[1] in text

    shown = error_of(["key"], text, {"key": PEM})

    assert not any(line in shown for line in PEM.splitlines())


def test_bytes_that_are_no_text_are_hidden() -> None:
    data = b"\xff\xfe\x00secret"

    assert error_of(["data"], f"bad {data!r}", {"data": data}) == f"bad b'{MARK}'"


def _decorated(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _well_decorated(function: Any) -> Any:
    return functools.wraps(function)(_decorated(function))


def _login(user: str, password: str) -> None: ...


def _any(*given: Any) -> None: ...


@pytest.mark.parametrize(
    ("run", "kept"),
    [
        (_decorated(_login), [MARK, MARK]),
        (_well_decorated(_login), ["ada", MARK]),
        (_login, ["ada", MARK]),
        (_any, ["ada", "hunter2"]),
    ],
    ids=["decorated", "with wraps", "plain", "any"],
)
def test_positional_arguments_behind_a_decorator_are_hidden(
    url: str, run: Any, kept: list[str]
) -> None:
    with shop(url, ["password"]) as app:
        app.task(name="shop.login", bind=False, autoretry_for=(OSError,))(run)
        record = sent(app, "ada", "hunter2", name="shop.login")

    assert record.args == kept


def test_a_number_still_names_one_argument_behind_a_decorator(url: str) -> None:
    with shop(url, ["1"]) as app:
        app.task(name="shop.login")(_decorated(_login))
        record = sent(app, "ada", "hunter2", name="shop.login")

    assert record.args == ["ada", MARK]


# --- beside the arguments


@pytest.mark.parametrize("option", ["argsrepr", "reply_to", "message_id", "x_any", "headers"])
def test_a_pattern_hides_in_whatever_else_a_publish_says(url: str, option: str) -> None:
    value: Any = "card 4111-1111"
    if option == "headers":
        value = {"x-4111-1111": "whose", "plain": "card 4111-1111"}
    with shop(url, [CARD]) as app:
        record = sent(app, 1, **{option: value})

    assert record.redacted
    assert "4111-1111" not in repr(vars(record))
    assert record.headers["task"] == "shop.pay"


def test_a_pattern_that_finds_digits_spares_what_celery_made(url: str) -> None:
    with shop(url, [CARD]) as app:
        record = sent(app, 1, reply_to="00001111-2222-3333-4444-555566667777")

    assert not record.redacted


# --- the audit log


class Thing:
    def __str__(self) -> str:
        return "hunter2hunter2"


def shapes(app: Celery) -> dict[str, Any]:
    """What details of a re-send may hold."""
    secret = {"password": "hunter2hunter2"}
    sig = app.signature("shop.login", kwargs=secret)
    return {
        "by path": {"kwargs": secret},
        "free text": {"kwargs": secret, "text": "of hunter2hunter2"},
        "positional": {"args": ["ada", "hunter2hunter2"]},
        "object": {"kwargs": {"x": 1}, "what": Thing()},
        "signature": {"link": sig},
        "signature as an argument": {"args": [sig]},
        "signature as a keyword": {"kwargs": {"then": sig}},
        "chain": {"task": chain(sig, sig)},
        "chord": {"task": chord([sig], sig, app=app)},
        "group": {"task": group([sig, sig], app=app)},
        "links": {"options": {"link": [sig], "link_error": dict(sig)}},
        "starmap": {"kwargs": {"task": sig, "it": [["ada", "hunter2hunter2"]]}},
        "chunks": {"kwargs": {"task": sig, "it": [["ada", "hunter2hunter2"]], "n": 2}},
        "deep": {"a": {"b": [{"kwargs": secret}]}},
    }


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    with shop(url, ["password"]) as app:
        app.task(name="shop.login")(_login)
        yield app


@pytest.mark.parametrize("shape", shapes(Celery(set_as_current=False)))
def test_the_audit_log_keeps_no_hidden_value_whatever_its_shape(app: Celery, shape: str) -> None:
    details = {**shapes(app)[shape], "by": "somebody"}

    app.fullresult.audit("resend", actor="ada", task_ids=["a"], details=details)

    (entry,) = app.fullresult.audit_log()
    assert "hunter2" not in repr(entry)
    assert entry.details["by"] == "somebody"
