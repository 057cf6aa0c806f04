"""`web`: the pages, and the hashes of their users' passwords and tokens."""

from __future__ import annotations

import secrets
import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli.errors import Commands, Failure
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.config.passwords import hash_password, hash_token, new_token
from fullresult.insight.safe_text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fullresult.extension import FullResult

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SHORTEST = 8
"""Characters of a password."""
_USER_FIELDS = 3


@click.group(
    cls=Commands,
    invoke_without_command=True,
    examples=["web", "web --port 9000 --read-only", "web hash-password"],
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8766,
    show_default=True,
    help="The port; 0 for a free one.",
)
@click.option(
    "--users",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of users, one a line: NAME ROLE HASH. Without it, fullresult_web_users.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which the pages are reached. Repeatable.",
)
@click.option(
    "--scheduler",
    "-S",
    metavar="CLASS",
    help="Beat's scheduler, if it is named on beat's command line and not by `beat_scheduler`.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy whose X-Forwarded-For and -Proto are believed. Repeatable.",
)
@click.option("--read-only", is_flag=True, help="The start-up link may only look, and not act.")
@click.option(
    "--root-path", default="", metavar="PATH", help="The path under which a proxy serves the pages."
)
@click.option(
    "--certfile", type=click.Path(exists=True, dir_okay=False), help="The certificate for HTTPS."
)
@click.option(
    "--keyfile", type=click.Path(exists=True, dir_okay=False), help="The key of the certificate."
)
@click.pass_context
def web(context: click.Context, /, **options: Any) -> None:
    """Serve the web pages: look, search, retry, edit, trigger.

    Without users, only this machine can reach them, and the printed link lets a person in. Any
    other address needs users, of `fullresult_web_users` or --users, who log in. Ctrl-C ends it.
    """
    if context.invoked_subcommand is None:
        _serve(full_of(context, makes_file=True), **options)


@web.command("hash-password")
def hash_a_password() -> None:
    """Ask for a password, and print its hash for `fullresult_web_users`.

    Without a terminal the password is the first line of the standard input.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < _SHORTEST:
        raise Failure(f"a password has at least {_SHORTEST} characters")
    say(hash_password(password))


@web.command("new-token")
def make_a_token() -> None:
    """Make a token for a program, and its hash for `fullresult_web_users`.

    It is sent in a header, `Authorization: Bearer TOKEN`, and shown only now.
    """
    token = new_token()
    say(f"token: {token}", err=True)
    say(hash_token(token))


def _serve(
    full: FullResult,
    *,
    host: str,
    port: int,
    users: Path | None,
    allowed_hosts: Sequence[str],
    scheduler: str | None,
    trusted_proxies: Sequence[str],
    read_only: bool,
    root_path: str,
    certfile: str | None,
    keyfile: str | None,
) -> None:
    try:
        import uvicorn

        from fullresult.web.app import create_app
    except ImportError as error:
        raise Failure(
            f"the web pages need more than is installed ({error}): pip install 'fullresult[web]'"
        ) from error
    known = _read_users(users) if users else None
    family, address = _resolve(host, port)
    local = _is_loopback(address[0])
    people = (full.settings.web_users if known is None else known) or full.settings.web_oidc
    if not local and not people:
        raise Failure(
            f"{host} can be reached from elsewhere, so there must be users who log in: set "
            "fullresult_web_users or fullresult_web_oidc, or give --users FILE; "
            "`web hash-password` makes a hash"
        )
    _check_certificate(certfile, keyfile)
    token = secrets.token_urlsafe(24) if local else None
    app = create_app(
        full,
        users=known,
        allowed_hosts=(*_LOOPBACK, *([] if local else [host]), *allowed_hosts),
        token=token,
        scheduler=scheduler,
        token_role="reader" if read_only else "operator",
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        root_path=root_path.rstrip("/"),
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    with _listen(family, address) as listening, suppress(KeyboardInterrupt):
        shown, bound = listening.getsockname()[:2]
        netloc = f"[{shown}]:{bound}" if ":" in shown else f"{shown}:{bound}"
        path = f"{root_path.rstrip('/')}/{f'?token={token}' if token else ''}"
        say(f"The pages are at {'https' if certfile else 'http'}://{netloc}{path}")
        uvicorn.Server(config).run(sockets=[listening])


def _check_certificate(certfile: str | None, keyfile: str | None) -> None:
    if certfile is None:
        if keyfile is not None:
            raise click.UsageError("--keyfile is the key of a --certfile: give both")
        return
    try:
        # A key with a passphrase is not asked for: nobody may be there.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=b"")
    except (OSError, ValueError) as error:
        raise Failure(
            f"--certfile {certfile} is no certificate in PEM with its private key"
            f"{f' in {keyfile}' if keyfile else ' in the same file'}: {error}"
        ) from error


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failure(f"{host!r} is no address to listen at: {error}") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _listen(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise Failure(f"cannot listen at {address[0]}, port {address[1]}: {error}") from error


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _read_users(file: Path) -> dict[str, Any]:
    """The users for `create_app`."""
    found: dict[str, Any] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != _USER_FIELDS:
            raise Failure(f"{safe(str(file))}, line {number}: it must be NAME ROLE HASH")
        name, role, hashed = words
        kind = "token" if hashed.startswith("sha256$") else "password"
        found.setdefault(name, {})[kind] = hashed
        found[name]["role"] = role
    return found
