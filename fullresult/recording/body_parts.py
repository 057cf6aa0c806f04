"""The JSON of the arguments, cut out of a body that has been serialised: it is not made twice."""

from __future__ import annotations

import json

from fullresult.recording.message import EMBEDS, Call

_END = f", {json.dumps(dict.fromkeys(EMBEDS))}]"
"""The end of a body without links."""
_BETWEEN = "], {"


def arguments_in_body(call: Call) -> dict[str, str]:
    """The JSON of "args" and "kwargs" of a *call* that is serialised here.

    Nothing where it is not certain from the text where one ends and the other begins.
    """
    payload = call.payload
    if payload is None or payload.content_type != "application/json":
        return {}
    text = payload.data
    # An encoder that is not Celery's has other spaces, or writes other characters than ASCII.
    if not isinstance(text, str) or not text.isascii() or not text.endswith(_END):
        return {}
    args, _, kwargs = text.removesuffix(_END).partition(_BETWEEN)
    if not text.startswith("[[") or not kwargs or _BETWEEN in kwargs:
        return {}
    return {"args": f"{args[1:]}]", "kwargs": f"{{{kwargs}"}
