"""What `fullresult_redact` covers is in no record, no schedule, no spool, and sent all the same.

Long because every way out of a task is tried with the same rules and secrets.
"""

from __future__ import annotations

import logging
import re
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import ImproperlyConfigured
from celery.utils.saferepr import saferepr
from hypothesis import given
from hypothesis import strategies as st
from kombu.serialization import loads
from pluggy import HookimplMarker

from fullresult import CannotResend, FullResult, TaskRecord
from fullresult.config import Settings
from fullresult.config.redaction_rules import PathRule, read_rules
from fullresult.recording import masking
from fullresult.recording.masking import MARK
from tests.apps.scenario_redaction_app import PASSWORD, RULES, SECRETS, hide_ssn, secrets
from tests.kit import browsing, leaks, scheduling, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

hookimpl = HookimplMarker("fullresult")
CARD = re.compile(r"\d{4}-\d{4}")


@dataclass
class Card:
    number: str


@contextmanager
def shop(
    storage_url: str, rules: Any, plugins: tuple[object, ...] = (), **more: Any
) -> Iterator[Any]:
    """An app that redacts by *rules*, and publishes to a queue in memory."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    ours = {"fullresult_storage": storage_url, "fullresult_redact": rules}
    app.conf.update(task_default_queue=uuid4().hex, fullresult_spool_directory=None)
    app.conf.update(ours, **more)

    def pay(order: int, card: Any = None, *more: Any, **options: Any) -> None: ...

    app.task(name="shop.pay")(pay)
    with closing(FullResult(app, plugins)), closing(app):
        yield app


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.db"


def sent(app: Celery, *args: Any, name: str = "shop.pay", **options: Any) -> TaskRecord:
    """The record of a task that was published."""
    record = app.fullresult.get(app.send_task(name, args, **options).id)
    assert record is not None
    return record  # type: ignore[no-any-return]


def decoded(message: Any) -> Any:
    """The body of a message, whatever its type."""
    content = message.content_type, message.content_encoding
    return loads(message.body, *content, accept=[message.content_type])


# --- What a rule covers


@pytest.mark.parametrize(
    ("rule", "args", "kwargs"),
    [
        ("pin", [1], {"pin": MARK, "card": {"pin": 7}}),
        ("card", [1], {"pin": 7, "card": MARK}),
        ("card.pin", [1], {"pin": 7, "card": {"pin": MARK}}),
        ("*.pin", [1], {"pin": 7, "card": {"pin": MARK}}),
        ("**.pin", [1], {"pin": MARK, "card": {"pin": MARK}}),
        ("c*.p?n", [1], {"pin": 7, "card": {"pin": MARK}}),
        ("*", [MARK], {"pin": MARK, "card": MARK}),
        ("**", [MARK], {"pin": MARK, "card": MARK}),
        ("0", [MARK], {"pin": 7, "card": {"pin": 7}}),
        ("order", [MARK], {"pin": 7, "card": {"pin": 7}}),
        ("shop.*:pin", [1], {"pin": MARK, "card": {"pin": 7}}),
        ("blog.*:pin", [1], {"pin": 7, "card": {"pin": 7}}),
        ("pi", [1], {"pin": 7, "card": {"pin": 7}}),
        ("pin.number", [1], {"pin": 7, "card": {"pin": 7}}),
    ],
)
def test_a_path_hides_what_it_leads_to(
    url: str, rule: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    with shop(url, [rule]) as app:
        record = sent(app, 1, kwargs={"pin": 7, "card": {"pin": 7}})

    assert (record.args, record.kwargs) == (args, kwargs)
    assert record.redacted is (kwargs != {"pin": 7, "card": {"pin": 7}} or args != [1])


@pytest.mark.parametrize(
    ("rule", "args", "hidden"),
    [
        ("card.number", (1, {"number": 7}), [1, {"number": MARK}]),
        ("card", (1, "x", "y"), [1, MARK, "y"]),
        ("more", (1, 2, "x", "y"), [1, 2, MARK, MARK]),
        ("more.1.pin", (1, 2, {"pin": 3}, {"pin": 4}), [1, 2, {"pin": 3}, {"pin": MARK}]),
        ("1.*.pin", (1, [{"pin": 3}, {"pin": 4}]), [1, [{"pin": MARK}, {"pin": MARK}]]),
        ("**.pin", (1, [[{"pin": 3}]]), [1, [[{"pin": MARK}]]]),
    ],
)
def test_a_positional_argument_goes_by_the_name_of_its_parameter(
    url: str, rule: str, args: tuple[Any, ...], hidden: list[Any]
) -> None:
    with shop(url, [rule]) as app:
        record = sent(app, *args)

    assert record.args == hidden
    assert record.argsrepr == saferepr(tuple(hidden))


def test_of_a_task_that_is_not_known_here_a_positional_argument_has_a_number_only(url: str) -> None:
    with shop(url, ["card", "0"]) as app:
        record = sent(app, 1, 2, name="blog.post")

    assert record.args == [MARK, 2]


def test_an_object_on_the_way_of_a_path_is_hidden_whole(url: str) -> None:
    """Nobody can tell what is inside."""
    with shop(url, ["card.number"]) as app:
        record = sent(app, 1, Card("card 4111"), serializer="pickle")

    assert record.args == [1, MARK]
    assert "card 4111" not in repr(record.message)


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ("pay 4111-1111 now", f"pay {MARK} now"),
        ({"4111-1111": 1}, {MARK: 1}),
        ([["4111-1111", "x"]], [[MARK, "x"]]),
        (b"4111-1111", MARK),
        ("x", "x"),
        (None, None),
        (True, True),
    ],
)
def test_a_pattern_hides_what_it_matches_anywhere(url: str, value: Any, hidden: Any) -> None:
    with shop(url, [CARD]) as app:
        record = sent(app, 1, kwargs={"x": value})

    assert record.kwargs == {"x": hidden}
    assert record.redacted is (value != hidden)


@pytest.mark.parametrize("value", [41111111, 4111.1111, Card("41111111")])
def test_a_pattern_hides_a_value_that_reads_so(url: str, value: Any) -> None:
    with shop(url, [re.compile(r"4111\.?1111")]) as app:
        record = sent(app, 1, kwargs={"x": value}, serializer="pickle")

    assert record.kwargs == {"x": MARK}


def test_a_pattern_finds_what_only_the_pickle_has(url: str) -> None:
    """An object need not show what it has."""

    class Quiet(Card):
        def __repr__(self) -> str:
            return "a card"

    globals()["Quiet"] = Quiet
    Quiet.__qualname__ = "Quiet"
    with shop(url, [CARD]) as app:
        record = sent(app, 1, kwargs={"x": Quiet("4111-1111")}, serializer="pickle")

    assert record.message is not None
    assert record.message.body is None
    assert "4111-1111" not in repr(record.message)


def test_a_pattern_hides_in_headers_and_not_in_what_routes(url: str) -> None:
    with shop(url, [re.compile("shop|4111")]) as app:
        record = sent(app, 1, headers={"x-note": "4111", "x-other": 1}, shadow="pay 4111")

    assert (record.name, record.headers["x-note"]) == ("shop.pay", MARK)
    assert (record.headers["shadow"], record.headers["x-other"]) == (f"pay {MARK}", 1)
    assert record.notes == {"headers": "redacted: shadow, x-note"}


# --- Functions and hooks


def test_a_function_is_asked_for_the_arguments_as_they_may_be_kept(url: str) -> None:
    asked: list[Any] = []

    def redact(name: str, args: Any, kwargs: Any) -> Any:
        asked.append((name, args, dict(kwargs)))
        kwargs["pin"] = "gone"
        return args, kwargs

    with shop(url, redact) as app:
        record = sent(app, 1, kwargs={"pin": 7})

    assert asked == [("shop.pay", [1], {"pin": 7})]
    assert record.kwargs == {"pin": "gone"}
    assert record.notes == {"kwargs": "redacted: pin", "body": "redacted"}
    assert record.kwargsrepr == "{'pin': 'gone'}"


def test_a_function_that_hides_nothing_leaves_the_record_whole(url: str) -> None:
    with shop(url, [lambda _, args, kwargs: (tuple(args), dict(kwargs))]) as app:
        record = sent(app, 1, [2, (3,)], kwargs={"pin": {"x": 7}})

    assert (record.redacted, record.args, record.kwargs) == (
        False,
        [1, [2, [3]]],
        {"pin": {"x": 7}},
    )
    assert record.message is not None
    assert record.message.body is not None


def test_a_function_may_change_what_it_is_given(url: str) -> None:
    """It has lists and dicts of its own: the task gets what its caller gave."""
    given = {"card": {"pin": 7}, "list": [1]}

    def redact(_: str, args: Any, kwargs: Any) -> Any:
        kwargs["card"]["pin"] = None
        kwargs["list"].clear()
        return args, kwargs

    with shop(url, redact) as app:
        record = sent(app, 1, kwargs=given)
        (message,) = scheduling.messages(app)

    assert given == {"card": {"pin": 7}, "list": [1]}
    assert message.payload[1] == given
    assert record.kwargs == {"card": {"pin": None}, "list": []}


def fail(*_: Any) -> Any:
    raise ValueError("4111-1111")


class NoTruth:
    def __eq__(self, other: object) -> bool:
        raise ValueError("4111-1111")

    def __hash__(self) -> int:
        return 7


@pytest.mark.parametrize(
    "function",
    [
        fail,
        lambda *_: None,
        lambda *_: (),
        lambda *_: ([], {}, {}),
        lambda *_: ("args", {}),
        lambda *_: ([], ["kwargs"]),
        lambda _, args: (args, {}),
    ],
    ids=["raises", "None", "nothing", "three", "no list", "no dict", "wrong signature"],
)
def test_a_function_that_fails_hides_everything_and_stops_nothing(
    url: str, function: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with shop(url, function) as app:
        for _ in range(2):
            record = sent(app, "4111-1111", kwargs={"x": "4111-1111"})
        messages = scheduling.messages(app)

    assert len(messages) == 2
    assert messages[0].payload[0] == ["4111-1111"]
    assert (record.args, record.kwargs, record.redacted) == (None, None, True)
    assert set(record.notes) == {"args", "kwargs", "embed", "body"}
    assert (record.argsrepr, record.kwargsrepr) == (MARK, MARK)
    assert "4111-1111" not in repr(record.message)
    (line,) = (each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR)
    assert "fullresult_redact" in line
    assert "4111-1111" not in caplog.text


def test_a_plugin_redacts_like_a_function(url: str) -> None:
    """The last one first, as in pluggy; each is given what the one before left."""

    class Last:
        @hookimpl
        def fullresult_redact(self, name: str, args: Any, kwargs: Any) -> Any:
            return args, {**kwargs, "pin": f"of {name}"}

    class AskedLater:
        @hookimpl
        def fullresult_redact(self, args: Any, kwargs: Any) -> Any:
            return args, {**kwargs, "seen": kwargs["pin"]}

    with shop(url, None, (AskedLater(), Last())) as app:
        record = sent(app, 1, kwargs={"pin": 7, "seen": None})

    assert record.kwargs == {"pin": "of shop.pay", "seen": "of shop.pay"}


def test_a_plugin_that_answers_nothing_hides_everything(url: str) -> None:
    class Forgetful:
        @hookimpl
        def fullresult_redact(self) -> None:
            return None

    with shop(url, None, (Forgetful(),)) as app:
        record = sent(app, 1)

    assert (record.args, record.redacted) == (None, True)


def test_a_plugin_that_comes_later_is_heard_too(url: str) -> None:
    class Late:
        @hookimpl
        def fullresult_redact(self, args: Any) -> Any:
            return args, {}

    with shop(url, None) as app:
        before = sent(app, 1, kwargs={"pin": 7})

        FullResult(app, [Late()])

        assert before.kwargs == {"pin": 7}
        assert sent(app, 1, kwargs={"pin": 7}).kwargs == {}


def test_without_rules_nobody_redacts(url: str) -> None:
    with shop(url, None) as app:
        assert app.fullresult.recorder.redactor is None


# --- Hostile values


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise LookupError("4111-1111")

    keys = values = __iter__ = items


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(levels: int) -> Any:
    value: Any = "4111-1111"
    for _ in range(levels):
        value = [value]
    return value


class Liar:
    """Its repr and its class raise."""

    def __repr__(self) -> str:
        raise ValueError("4111-1111")


@pytest.mark.parametrize("rules", [["**.pin"], [CARD], ["x.*", CARD, hide_ssn]])
@pytest.mark.parametrize(
    "value",
    [Hostile(pin="4111-1111"), circle(), nested(5000), nested(300), Liar(), {1: {2: "4111-1111"}}],
    ids=["hostile dict", "circle", "very deep", "deep", "liar", "odd keys"],
)
def test_a_value_that_resists_stops_nothing_and_shows_nothing(
    url: str, rules: Any, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with shop(url, rules) as app:
        task_id = uuid4().hex
        with suppress(Exception):  # Celery's: it cannot be serialised
            app.send_task("shop.pay", [1], {"x": {"pin": value}}, task_id=task_id)
        record = app.fullresult.get(task_id)

    if record is not None:
        assert "4111-1111" not in repr(record.message)
    assert "4111-1111" not in caplog.text or isinstance(value, (Hostile, Liar))


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=12,
    ),
    st.lists(st.sampled_from(["a", "pin", "*", "**", "0"]), min_size=1, max_size=3),
)
def test_hiding_by_path_is_done_once_and_for_all(value: Any, path: list[str]) -> None:
    """What is hidden stays so, and what is not reached stays the same object."""
    rule = read_rules(".".join(path))[0]
    assert isinstance(rule, PathRule)

    hidden = masking.at(value, {rule.path}) if rule.path else value

    assert masking.at(hidden, {rule.path}) is hidden or masking.same(
        masking.at(hidden, {rule.path}), hidden
    )
    assert (hidden is value) is not masking.holds_mark(hidden) or masking.holds_mark(value)


@given(
    st.text("4-x[]redact", max_size=30),
    st.lists(st.sampled_from(["4", "x+", "red", "", "4-4", "."]), min_size=1, max_size=3),
)
def test_hiding_by_pattern_leaves_nothing_to_match(text: str, patterns: list[str]) -> None:
    compiled = [re.compile(pattern) for pattern in patterns]

    hidden = masking.in_text(text, compiled)

    assert masking.in_text(hidden, compiled) == hidden
    for pattern in filter(None, patterns):
        assert not any(re.search(pattern, part) for part in hidden.split(MARK))


# --- Links


@pytest.mark.parametrize(
    "publish",
    [
        lambda app, sig: chain(app.signature("echo"), sig).apply_async(),
        lambda app, sig: chain(app.signature("echo"), group(sig, app=app)).apply_async(),
        lambda app, sig: chord([app.signature("echo")], sig, app=app).apply_async(),
        lambda app, sig: app.send_task("echo", link=sig),
        lambda app, sig: app.send_task("echo", link_error=[app.signature("cry", link=sig)]),
        lambda app, sig: app.send_task("echo", link=sig, serializer="pickle"),
        lambda app, sig: app.send_task("echo", [sig]),
        lambda app, sig: app.send_task("echo", kwargs={"x": [sig]}, serializer="pickle"),
    ],
    ids=["chain", "group in a chain", "chord", "link", "link of errback", "pickle", "arg", "kwarg"],
)
def test_the_arguments_of_what_comes_after_are_redacted_by_its_own_rules(
    url: str, publish: Callable[..., Any]
) -> None:
    with shop(
        url, ["shop.pay:pin", "shop.pay:card.number"], result_backend="cache+memory://"
    ) as app:
        signature = app.signature(
            "shop.pay", args=[1, {"number": "s3cret"}], kwargs={"pin": "s3cret", "order": "kept"}
        )
        publish(app, signature)

        (record,) = app.fullresult.find(name="echo")

    assert "s3cret" not in repr(vars(record))
    assert "kept" in repr(vars(record))
    assert record.redacted


def test_the_calls_inside_a_starmap_are_redacted_too(url: str) -> None:
    with shop(url, ["card"]) as app:
        app.tasks["shop.pay"].starmap([(1, "s3cret"), (2, "s3cret")]).apply_async()
        app.tasks["shop.pay"].map(["s3cret"]).apply_async()

        for record in app.fullresult.find(name="celery.starmap"):
            assert "s3cret" not in repr(vars(record))
            assert record.kwargs["it"] == [[1, MARK], [2, MARK]]
        (record,) = app.fullresult.find(name="celery.map")
        assert record.kwargs["it"] == ["s3cret"]  # that is the order


# --- Sending again


def test_a_redacted_record_says_so_and_is_sent_again_with_what_is_missing(url: str) -> None:
    with shop(url, ["pin", "password"]) as app:
        record = sent(app, 1, kwargs={"pin": 7, "x": "s"})
        full: FullResult = app.fullresult

        with pytest.raises(CannotResend, match=r"kwargs unknown \(redacted: pin\); give kwargs=…"):
            full.resend(record)
        with pytest.raises(CannotResend, match="give kwargs"):
            full.resend(record, args=[2])
        new = full.get(full.resend(record, kwargs={"pin": 8, "x": "t"}).id)
        messages = scheduling.messages(app)

    assert [message.payload[1] for message in messages][1:] == [{"pin": 8, "x": "t"}]
    assert messages[1].headers["kwargsrepr"] == "{'pin': 8, 'x': 't'}"
    assert new is not None
    assert (new.args, new.kwargs, new.retry_of) == ([1], {"pin": MARK, "x": "t"}, record.task_id)


def test_the_marker_is_no_value_to_send(url: str) -> None:
    """A form that shows a record has it, and somebody may forget to fill it in."""
    with shop(url, ["pin"]) as app:
        record = sent(app, 1, kwargs={"pin": 7, "x": "s"})
        full: FullResult = app.fullresult

        for kwargs in (record.kwargs, {"pin": 7, "x": [{MARK: 1}]}):
            with pytest.raises(CannotResend, match=r"kwargs still has \[redacted\]"):
                full.resend(record, kwargs=kwargs)
        assert full.resend(record, args=[MARK], kwargs={"pin": 7})  # that one is the caller's own


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_it_is_sent_again_by_any_serializer(url: str, serializer: str) -> None:
    with shop(url, ["pin"], accept_content=[serializer]) as app:
        record = sent(app, 1, kwargs={"pin": "s3cret"}, serializer=serializer)
        full: FullResult = app.fullresult

        with pytest.raises(CannotResend):
            full.resend(record)
        new = full.get(full.resend(record, args=(1,), kwargs={"pin": "s3cret"}).id)
        first, second = scheduling.messages(app)

    assert record.message is not None
    assert new is not None
    assert (record.message.body, record.kwargs) == (None, {"pin": MARK})
    assert decoded(second)[:2] == decoded(first)[:2]
    assert second.content_type == first.content_type
    assert "s3cret" not in repr((record.message, new.message))


def test_links_that_are_redacted_are_given_anew(url: str) -> None:
    with shop(url, ["pin"]) as app:
        link = app.signature("shop.pay", kwargs={"pin": 7})
        record = sent(app, 1, link=link)
        full: FullResult = app.fullresult

        with pytest.raises(CannotResend, match=r"redacted: callbacks; give link=…"):
            full.resend(record)
        full.resend(record, link=link)
        _, message = scheduling.messages(app)

    assert message.payload[2]["callbacks"][0]["kwargs"] == {"pin": 7}


def test_headers_that_are_redacted_are_given_anew(url: str) -> None:
    with shop(url, [CARD]) as app:
        record = sent(app, 1, headers={"x-note": "4111-1111"})
        full: FullResult = app.fullresult

        with pytest.raises(CannotResend, match=r"header x-note is redacted; give headers="):
            full.resend(record)
        full.resend(record, headers={"x-note": "new"})
        _, message = scheduling.messages(app)

    assert message.headers["x-note"] == "new"
    assert message.payload[0] == [1]


def test_what_was_recorded_before_there_was_a_rule_is_redacted_when_it_is_sent_again(
    url: str,
) -> None:
    with shop(url, None) as app:
        old = [
            sent(app, 1, kwargs={"pin": "s3cret"}, serializer=serializer).task_id
            for serializer in ("json", "pickle")
        ]
    with shop(url, ["pin"], task_default_queue=app.conf.task_default_queue) as app:
        new = [app.fullresult.get(app.fullresult.resend(task_id).id) for task_id in old]
        messages = scheduling.messages(app)

    assert len(messages) == 4
    assert [record.kwargs for record in new] == [{"pin": MARK}] * 2
    assert "s3cret" not in repr([record.message for record in new])


# --- Later


def test_a_redacted_task_does_not_wait_in_the_storage(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with shop(url, ["pin"], fullresult_schedule_eta=True) as app:
        hidden = sent(app, 1, kwargs={"pin": "s3cret"}, countdown=600)
        whole = sent(app, 1, kwargs={"x": 1}, countdown=600)
        waiting = app.fullresult.scheduled()

    assert [schedule.task_id for schedule in waiting] == [whole.task_id]
    assert (hidden.state, hidden.kwargs, hidden.eta is None) == ("PENDING", {"pin": MARK}, False)
    assert "fullresult_redact hides some of its message" in caplog.text


@pytest.mark.parametrize("new_id", [False, True])
def test_it_does_where_that_is_wanted_and_is_sent_whole(url: str, new_id: bool) -> None:
    """Under its own id: what the sweeper records of a new one it reads from the message."""
    settings: dict[str, Any] = {
        "fullresult_schedule_redacted": True,
        "fullresult_schedule_new_id": new_id,
    }
    with shop(url, ["pin"], fullresult_schedule_eta=True, **settings) as app:
        record = sent(app, 1, kwargs={"pin": "s3cret"}, countdown=600)

        app.fullresult.resend_scheduled(record.task_id)

        (message,) = scheduling.messages(app)
        after = app.fullresult.get(record.task_id)

    assert message.payload[1] == {"pin": "s3cret"}
    assert record.kwargs == after.kwargs == {"pin": MARK}
    assert (record.state, after.state) == ("SCHEDULED", "SCHEDULED_SENT")
    assert message.headers["id"] == record.task_id


# --- Results and errors


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ({"pin": 7, "x": 1}, {"pin": MARK, "x": 1}),
        ([{"pin": 7}], [{"pin": 7}]),
        ([1, {"deep": [{"cvc": 7}]}], [1, {"deep": [{"cvc": MARK}]}]),
        ("paid with 4111-1111", f"paid with {MARK}"),
        (Card("4111-1111"), MARK),
        (nested(5000), MARK),
        (7, 7),
    ],
    ids=["path", "not at the top", "any depth", "pattern", "object", "too deep", "other"],
)
def test_a_result_is_redacted_by_paths_and_patterns(url: str, result: Any, kept: Any) -> None:
    with shop(url, ["pin", "**.cvc", "0", CARD]) as app:

        def tell() -> Any:
            return result

        task = app.task(name="shop.tell")(tell)

        record = app.fullresult.get(task.apply().id)

    assert record.result == kept


def test_an_error_does_not_tell_what_is_hidden_of_the_arguments(url: str) -> None:
    """Nor does its traceback, whose messages are those of all that led to it."""

    def fail(order: int, pin: str, card: Any) -> None:
        try:
            raise KeyError(pin)
        except KeyError as error:
            raise ValueError(f"order {order}: {pin!r}, {card!r}") from error

    with shop(url, ["pin", CARD]) as app:
        task = app.task(name="shop.fail")(fail)

        record = app.fullresult.get(task.apply((77777, "it's s3cret"), {"card": "4111-1111"}).id)

    assert record.exception_message == f"order 77777: \"{MARK}\", '{MARK}'"
    assert MARK in record.traceback
    assert "s3cret" not in repr(vars(record))
    assert "4111-1111" not in repr(vars(record))


def test_an_error_of_the_publish_is_redacted(url: str) -> None:
    with shop(url, [CARD]) as app:

        class Unserialisable:
            def __reduce__(self) -> Any:
                raise TypeError("4111-1111")

        with pytest.raises(Exception, match="4111-1111"):
            app.send_task("shop.pay", [Unserialisable()], task_id="one", serializer="pickle")

        record = app.fullresult.get("one")

    assert record.state == "UNSENT"
    assert "4111-1111" not in repr(vars(record))


def test_what_goes_over_a_limit_is_redacted_before_it_is_cut(url: str) -> None:
    def fail() -> None:
        raise ValueError("x" * 45 + "4111-1111" + "y" * 100)

    with shop(url, [CARD], fullresult_max_text=100) as app:
        record = app.fullresult.get(app.task(name="shop.fail")(fail).apply().id)

    assert "4111-1111" not in repr(vars(record))


def test_the_audit_log_does_not_tell_what_somebody_searched_for(url: str) -> None:
    asked = {"kwargs": {"pin": "s3cret", "x": 1}, "filters": {"kwargs": {"pin": 7}}, "pin": 1}
    with shop(url, ["pin", CARD]) as app:
        app.fullresult.audit("resend", actor="ada", details={**asked, "text": "of 4111-1111"})

        (entry,) = app.fullresult.audit_log()

    assert entry.details == {
        "kwargs": {"pin": MARK, "x": 1},
        "filters": {"kwargs": {"pin": MARK}},
        "pin": 1,
        "text": f"of {MARK}",
    }


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        (["pin"], MARK),
        (["0"], {"0": MARK, "2": 1}),
        ([CARD], {"0": f"of {MARK}", "2": 1}),
        (["shop.*:1"], {"0": "of 4111-1111", "2": 1}),
    ],
)
def test_nor_does_it_tell_arguments_that_were_searched_for_by_their_places(
    url: str, rules: list[Any], shown: Any
) -> None:
    with shop(url, rules) as app:
        app.fullresult.audit("x", actor="ada", details={"args_at": {"0": "of 4111-1111", "2": 1}})

        (entry,) = app.fullresult.audit_log()

    assert entry.details == {"args_at": shown}


# --- Real workers


@pytest.mark.parametrize(
    ("kind", "serializer"),
    [
        ("sqlite", "json"),
        pytest.param("postgresql", "pickle", marks=pytest.mark.slow),
        pytest.param("sqlite", "pickle", marks=pytest.mark.campaign),
        pytest.param("postgresql", "json", marks=pytest.mark.campaign),
    ],
)
def test_a_database_holds_no_secret_after_a_worker_ran_with_them(
    kind: str, serializer: str, redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whatever they did with it: the records are the result backend, too."""
    settings = {
        "result_backend": "fullresult://",
        "result_serializer": serializer,
        "task_serializer": serializer,
        "accept_content": ["json", "pickle", "yaml", "msgpack"],
        "fullresult_spool_directory": str(tmp_path / "spool"),
        "fullresult_use_json": True,
    }
    module = "tests.apps.scenario_redaction_app"
    with (
        workers.storage(kind, request, tmp_path / "records") as url,
        workers.scene(redis_url, url, tmp_path / "scene", module=module, **settings) as scene,
        scene.worker(env={"C_FORCE_ROOT": "1"}) as worker,
    ):
        whole = scene.send("take", kwargs=secrets())
        linked = scene.send("take", kwargs=secrets(), link=scene.task("take").si(**secrets()))
        more = {
            name: scene.send("take", kwargs=secrets(), serializer=name)
            for name in ("yaml", "msgpack")
        }
        back = scene.send("give_back", kwargs=secrets())
        ids = [
            scene.send("login", "ada", PASSWORD),
            scene.send("blurt", kwargs=secrets()),
            scene.send("blurt_again", kwargs=secrets()),
        ]
        by_hand(scene, f"{whole}-2", serializer)
        records = [
            scene.eventually(each, workers.is_finished) for each in (whole, linked, back, *ids)
        ]
        unpublished = scene.eventually(f"{whole}-2", workers.is_finished)
        result = scene.app.AsyncResult(back).get(timeout=30)
        errors = scene.app.AsyncResult(ids[1])
        for each in more.values():
            scene.eventually(each, workers.is_finished)
        told = str(errors.result), str(errors.traceback)
        worker.stop()
        held = leaks.everything(url)

    assert all(record.redacted for record in (*records, unpublished))
    assert (records[0].result, unpublished.result) == ("whole", "whole")
    assert result == {
        "password": MARK,
        "form": {"people": [{"pin": MARK}], "note": f"paid with {MARK}, thanks"},
        "ssn": secrets()["ssn"],  # a function is asked for arguments only
    }
    assert "bad '[redacted]' or [redacted]" in told[0]
    assert leaks.found(SECRETS[:3], held + "".join(told).encode()) == []
    assert b"[redacted]" in held


def by_hand(scene: workers.Scene, task_id: str, serializer: str) -> None:
    """Publish as somebody would who does not record."""
    message = scene.app.amqp.as_task_v2(task_id, "scenario.take", (), secrets())
    with scene.app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            message.body,
            headers=message.headers,
            serializer=serializer,
            routing_key=scene.app.conf.task_default_queue,
        )


def test_a_message_that_no_worker_understands_is_redacted(
    redis_url: str, url: str, tmp_path: Path
) -> None:
    """One that is not decoded is not kept at all: nobody can tell what is in it."""
    module = "tests.apps.scenario_redaction_app"
    settings = {"fullresult_spool_directory": None, "fullresult_track_publish": False}
    with (
        workers.scene(redis_url, url, tmp_path, module=module, **settings) as scene,
        scene.worker() as worker,
    ):
        ids = {
            serializer: scene.app.send_task(
                "scenario.unknown", (1,), secrets(), serializer=serializer, ignore_result=True
            ).id
            for serializer in ("json", "pickle")
        }
        records = {
            name: scene.eventually(task_id, lambda r: workers.is_finished(r) and r.message)
            for name, task_id in ids.items()
        }
        worker.stop()
        held = leaks.everything(url)

    assert records["json"].args == [1]
    assert records["json"].kwargs["password"] == MARK
    assert records["pickle"].kwargs is None
    assert all(record.redacted for record in records.values())
    assert leaks.found(SECRETS, held) == []


def test_the_spool_holds_no_secret(tmp_path: Path) -> None:
    """What is written there is what would have been written into the storage."""
    dead = "sqlite:////no/such/directory/records.db"
    with shop(dead, RULES) as app:
        app.conf.fullresult_spool_directory = str(tmp_path / "spool")
        for serializer in ("json", "pickle"):
            app.send_task("shop.pay", kwargs=secrets(), serializer=serializer)

        held = leaks.files(tmp_path / "spool")

    assert b"[redacted]" in held
    assert leaks.found(SECRETS, held) == []


# --- Configuration


@pytest.mark.parametrize(
    "value",
    ["", ".", "a..b", ":a", "a:", "a.", 7, [7], [["a"]], {"a": 1}, re.compile(b"x"), [None]],
    ids=repr,
)
def test_a_rule_that_is_none_is_refused(value: Any) -> None:
    app = Celery(set_as_current=False)
    app.conf.fullresult_redact = value

    with pytest.raises(ImproperlyConfigured, match="fullresult_redact"):
        Settings.of(app)


@pytest.mark.parametrize(
    "value",
    ["a", CARD, hide_ssn, ["a", CARD], ("a",), {"a"}],
    ids=["text", "pattern", "function", "list", "tuple", "set"],
)
def test_one_rule_needs_no_list(value: Any) -> None:
    app = Celery(set_as_current=False)
    app.conf.fullresult_redact = value

    assert len(Settings.of(app).redact) == len(read_rules(value)) > 0


def test_what_is_hidden_in_a_message_is_not_in_the_group_that_its_shape_makes(url: str) -> None:
    """Of a failure without a traceback; else each secret would make a group of its own."""
    groups = {}
    for rules in ([re.compile("alice|bob")], []):
        with browsing.shop(url, fullresult_redact=rules) as app:
            failed = browsing.charge(app, 2)
            for task_id, name in zip(failed, ("alice", "bob"), strict=True):
                browsing.ran(app, task_id, "shop.charge", LookupError(f"no {name} here"))
            records = [app.fullresult.get(task_id) for task_id in failed]
            groups[bool(rules)] = len({record.fingerprint for record in records})

    assert groups == {True: 1, False: 2}
