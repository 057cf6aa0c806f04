"""A small OpenID Connect provider, in a process of its own, which signs real tokens.

Everybody who names a known subject is let in there; it asks for no password.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

_PATIENCE = 30.0


@contextmanager
def provider(*people: dict[str, Any], lifetime: int = 3600) -> Iterator[str]:
    """Its issuer. Each of *people* are the claims of one, `sub` among them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = [part for each in people for part in ("--user-claims", json.dumps(each))]
    options = ("--port", str(port), "--token-max-age", str(lifetime), *known)
    issuer = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as process:
        try:
            _wait(issuer, process)
            yield issuer
        finally:
            process.terminate()


def _wait(issuer: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            httpx.get(f"{issuer}/.well-known/openid-configuration").raise_for_status()
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def let_in(address: str, subject: str) -> str:
    """The address to which the provider sends the browser back, once *subject* has logged in."""
    answer = httpx.post(address, data={"sub": subject})
    assert answer.status_code in (302, 303), answer.text
    return str(answer.headers["location"])
