"""A client of the HTTP API, asked in this process, and its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jsonschema

from tests.kit.browsing import Browser, Page

ROOT = "/api/v1"


@dataclass
class Client:
    """Asks the API of *app* with a token, or with what *browser* has."""

    browser: Browser

    @classmethod
    def with_token(cls, app: Any, token: str, **more: Any) -> Client:
        return cls(Browser(app, headers={"authorization": f"Bearer {token}"}, **more))

    def get(self, path: str, query: Mapping[str, Any] | None = None, **more: Any) -> Page:
        asked = f"?{urlencode(query, doseq=True)}" if query else ""
        return self.browser.get(f"{ROOT}/{path}{asked}", follow=False, **more)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Page:
        content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        return self.browser.ask(
            "POST", f"{ROOT}/{path}", follow=False, content=content, headers=sent
        )

    def read(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What a GET answers, which must be a success."""
        return told(self.get(path, query))


def told(answer: Page, status: int = 200) -> Any:
    """What *answer* says."""
    assert answer.status == status, answer.text
    kind = "application/json" if status < 400 else "application/problem+json"
    assert answer.headers["content-type"] == kind
    return json.loads(answer.text)


class Described:
    """The OpenAPI document, by which answers are checked."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._whole = closed(document)

    @property
    def operations(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Each operation by its method and path."""
        return {
            (method.upper(), path.removeprefix("/")): told
            for path, methods in self.document["paths"].items()
            for method, told in methods.items()
        }

    def check(self, method: str, path: str, answer: Page) -> None:
        """Check that *answer* is one that the operation describes, with nothing besides."""
        operation = self._whole["paths"][f"/{path}"][method.lower()]
        described = operation["responses"][str(answer.status)]["content"]
        schema = described[answer.headers["content-type"]]["schema"]
        whole = {**schema, "components": self._whole["components"]}
        if schema == {"$ref": "#/components/schemas/Problem"}:
            whole = {**self.document["components"]["schemas"]["Problem"]}
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(whole, format_checker=checker).validate(
            json.loads(answer.text)
        )


def closed(schema: Any) -> Any:
    """*schema*, in which no object has members that are not described."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        found.setdefault("additionalProperties", False)
    return found
