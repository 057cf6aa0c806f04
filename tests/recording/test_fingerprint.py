"""Which failures are of one group: eleven pairs, from the exceptions and from their texts."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from fullresult.recording.fingerprint import SCHEME, fingerprint, of_text, shape_of

SHOP = """
import json

class Declined(Exception):
    pass

def charge(amount):
    raise ValueError(f"no {amount}")

def refund(amount):
    raise ValueError(f"no {amount}")

def refuse(amount):
    raise KeyError(amount)

def pay(amount, what=charge):
    what(amount)

def wrapped(amount):
    try:
        charge(amount)
    except ValueError as error:
        raise Declined("card") from error

def wrapped_elsewhere(amount):
    try:
        charge(amount)
    except ValueError as error:
        raise Declined("card") from error

def dig(depth):
    if depth:
        dig(depth - 1)
    raise ValueError("deep")

def read(text):
    return json.loads(text)

def squared(numbers):
    return [1 / number for number in numbers]
"""
EDITED = SHOP.replace(
    '    raise ValueError(f"no {amount}")', '    x = 1\n    raise ValueError("other")'
)


def module(
    source: str = SHOP, name: str = "shop.cards", path: str = "/srv/releases/20260131/shop/cards.py"
) -> dict[str, Any]:
    """The names of a module with *source*, as if it were in the file *path*."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(source, path, "exec"), names)
    return names


def raised(function: Callable[..., Any], *args: Any) -> BaseException:
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001
        begun = error.__traceback__
        return error.with_traceback(begun and begun.tb_next)  # without this function
    raise AssertionError("nothing was raised")


def kind(error: BaseException) -> str:
    return type(error).__name__


def live(error: BaseException) -> str | None:
    return fingerprint("shop.pay", kind(error), error, str(error), None)


def told(error: BaseException) -> str | None:
    text = "".join(traceback.format_exception(error))
    return of_text("shop.pay", kind(error), str(error), text)


def pairs() -> dict[str, tuple[BaseException, BaseException, bool]]:
    """Two exceptions each, and whether they are of one group."""
    shop, other = module(), module(name="shop.banks", path="/srv/releases/20260131/shop/banks.py")
    moved = module("\n" * 40 + SHOP)
    edited = module(EDITED)
    released = module(path="/srv/releases/20261129/shop/cards.py")
    pay, charge = shop["pay"], shop["charge"]
    first = raised(pay, 1)
    return {
        "other arguments": (first, raised(pay, "x y"), True),
        "moved lines": (first, raised(moved["pay"], 1), True),
        "an edited function": (first, raised(edited["pay"], 1), True),
        "another release's directory": (first, raised(released["pay"], 1), True),
        "recursion": (raised(shop["dig"], 5), raised(shop["dig"], 300), True),
        "another error of JSON": (raised(shop["read"], "{"), raised(shop["read"], "[1 2]"), True),
        "another function": (first, raised(pay, 1, shop["refund"]), False),
        "another module": (first, raised(other["pay"], 1), False),
        "wrapped or not": (raised(charge, 1), raised(shop["wrapped"], 1), False),
        "wrapped elsewhere": (
            raised(shop["wrapped"], 1),
            raised(shop["wrapped_elsewhere"], 1),
            False,
        ),
        "another exception": (first, raised(pay, 1, shop["refuse"]), False),
    }


PAIRS = pairs()


@pytest.mark.parametrize("of", [live, told])
@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_of_one_group(pair: str, of: Callable[[BaseException], str | None]) -> None:
    a, b, alike = PAIRS[pair]

    assert (of(a) == of(b)) is alike
    assert str(of(a)).startswith(f"{SCHEME}-")


THE_SAME = {
    "charge": "1-57eefad40a017de5",
    "wrapped": "1-926551e5b6e59603",
    "dig": "1-75ec979eb2174d1b",
    "read": "1-6c8426bce2ed9831",
    "squared": "1-7b5554536008cfc9",
    "charge, told": "1-f5771f393291173f",
    "wrapped, told": "1-871e5982e5bb537e",
    "dig, told": "1-d59cc526d43bda17",
    "read, told": "1-39ae586d9297f07b",
    "squared, told": "1-d51325ccb46979f2",
}
"""Of Python 3.10 to 3.13; `python -m tests.recording.test_fingerprint` prints them."""


def known(names: dict[str, Any]) -> dict[str, str | None]:
    calls = {"charge": (1,), "wrapped": (1,), "dig": (9,), "read": ("{",), "squared": ([1, 0],)}
    errors = {name: raised(names[name], *args) for name, args in calls.items()}
    found = {name: live(error) for name, error in errors.items()}
    return found | {f"{name}, told": told(error) for name, error in errors.items()}


def test_a_group_is_the_same_on_every_python() -> None:
    """Also where a list has a frame of its own, and where a traceback has carets."""
    assert known(module()) == THE_SAME, sys.version


def test_another_task_has_another_group() -> None:
    error = raised(module()["pay"], 1)

    assert live(error) != fingerprint("shop.other", kind(error), error, "", None)


def test_without_a_traceback_the_shape_of_the_message_counts() -> None:
    def lost(message: str) -> str | None:
        return fingerprint("shop.pay", "billiard.exceptions.WorkerLostError", None, message, None)

    killed = "Worker exited prematurely: signal 9 (SIGKILL) Job: 12."

    assert lost(killed) == lost(killed.replace("12", "2,345"))
    assert lost(killed) != lost("Worker exited prematurely: exitcode 155 Job: 12.")
    assert fingerprint("shop.pay", None, None, None, None) is None


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        ("no order 17 for 'ada'", "no order # for #"),
        ('"a b" at 0x7f00 and 3f0c9a4e-aaaa-4bbb-8ccc-0123456789ab', "# at # and #"),
        ("deadbeef01 face cafe 1.5 12:30", "# face cafe # #"),
        ("it isn't", "it isn't"),
        ("x" * 9_999, "x" * 500),
    ],
)
def test_shapes_of_messages(message: str, shape: str) -> None:
    assert shape_of(message) == shape


def test_an_exception_that_raises_when_it_is_looked_at_has_a_group_all_the_same() -> None:
    class Odd(Exception):
        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise RuntimeError("no")

    error = Odd()

    assert fingerprint("shop.pay", "Odd", error, "5 of 6", None) == of_text(
        "shop.pay", "Odd", "7 of 8", None
    )


def test_a_circle_of_causes_ends() -> None:
    a, b = raised(module()["pay"], 1), raised(module()["pay"], 2)
    a.__cause__, b.__cause__ = b, a

    assert live(a) is not None


def test_a_hostile_text_is_read_in_no_time() -> None:
    frame = '  File "/a/b.py", line 1, in f\n'
    texts = [
        '  File "' * 50_000,
        frame * 20_000,
        " " * 500_000,
        "Traceback " * 50_000,
        "'" * 200_000,
    ]

    for text in texts:
        assert of_text("shop.pay", "ValueError", text, text) is not None


if __name__ == "__main__":
    for name, group in known(module()).items():
        print(f"    {name!r}: {group!r},")  # noqa: T201
