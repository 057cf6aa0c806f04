"""Log-in by OpenID Connect: the code flow with PKCE, by Authlib."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from fullresult.config.oidc import is_safe
from fullresult.config.users import Person
from fullresult.record import encoding

if TYPE_CHECKING:
    from fullresult.config.oidc import Oidc

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""With keys that only the provider has; never `none`, nor one with the client's secret."""
_SECONDS = 5.0
"""For each request to the provider."""
_FRESH = 3600.0
"""Seconds for which the provider's metadata and keys are kept."""
_PATIENCE = 600.0
"""Seconds that a person has at the provider."""
_LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
_AGAIN = 5.0
"""Seconds for which what could not be read is not asked for again."""
_LARGEST = 1_000_000
_BASIC, _POST = "client_secret_basic", "client_secret_post"
_LONGEST_NAME, _MOST_GROUPS = 200, 1_000


class NotLetIn(Exception):
    """Nobody is let in; the message says why, to the person who tried."""


class ProviderError(Exception):
    """The provider does not answer, or not as it should; the message is for the log."""


class Begun(NamedTuple):
    """A log-in that has begun: what the browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str
    back: str
    """The page that was asked for."""
    until: float


class Provider:
    """One provider, whose metadata and keys are asked for when they are needed."""

    def __init__(self, oidc: Oidc, clock: Callable[[], float] = time.monotonic) -> None:
        self.oidc = oidc
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Mapping[str, Any] | ProviderError]] = {}

    def begin(self, redirect_uri: str, back: str) -> tuple[str, Begun]:
        """The provider's address to go to, and what to keep. Raises `ProviderError`."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = Begun(state, nonce, verifier, back, time.time() + _PATIENCE)
        endpoint = self._endpoint("authorization_endpoint")
        with self._session(redirect_uri) as session:
            url, _ = session.create_authorization_url(
                endpoint, state=begun.state, nonce=begun.nonce, code_verifier=begun.verifier
            )
        return str(url), begun

    def finish(self, redirect_uri: str, begun: Begun, code: str) -> Person:
        """The person for whom the provider gave *code*. Raises `NotLetIn` and `ProviderError`."""
        endpoint = self._endpoint("token_endpoint")
        try:
            with self._session(redirect_uri) as session:
                token = session.fetch_token(
                    endpoint,
                    code=code,
                    code_verifier=begun.verifier,
                    timeout=_SECONDS,
                    allow_redirects=False,
                )
        except Exception as error:  # of Authlib, of requests, of what reads the answer
            raise ProviderError(f"no token for the code: {_text(error)}") from error
        return self._person(self._claims(token, begun.nonce))

    def _person(self, claims: Mapping[str, Any]) -> Person:
        name = claims.get(self.oidc.name)
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise NotLetIn(f"The provider does not say your {self.oidc.name}.")
        if not name.isprintable():  # It stands in logs.
            raise NotLetIn(f"Your {self.oidc.name} has a character that cannot be printed.")
        if self.oidc.name == "email" and claims.get("email_verified") is not True:
            raise NotLetIn("The provider has not verified your email address.")
        given = claims.get(self.oidc.groups)
        groups = given[:_MOST_GROUPS] if isinstance(given, list) else []
        role = self.oidc.role_of(name, [each for each in groups if isinstance(each, str)])
        if role is None:
            raise NotLetIn(f"You are {name}, who may not come in here.")
        return Person(name, role)

    def _claims(self, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """The claims of the ID token, once it is known to be the provider's and for us."""
        given = token.get("id_token")
        if not isinstance(given, str):
            raise ProviderError("the answer has no ID token")
        try:
            read = self._decoded(given)
            wanted = {
                "iss": {"essential": True, "value": self.oidc.issuer},
                "aud": {"essential": True, "value": self.oidc.client_id},
            }
            known = {"nonce": nonce, "client_id": self.oidc.client_id}
            known["access_token"] = token.get("access_token") or ""
            claims = CodeIDToken(read.claims, read.header, wanted, known)
            claims.validate(leeway=_LEEWAY)
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(f"the ID token is not to be believed: {_text(error)}") from error
        return dict(claims)

    def _decoded(self, token: str) -> Any:
        registry = JWSRegistry(algorithms=list(_ALGORITHMS), strict_check_header=False)
        uri = self._endpoint("jwks_uri")
        try:
            return jwt.decode(token, self._keys(uri), registry=registry)
        except JoseError:
            # The provider may have a new key.
            self._forget(uri)
            return jwt.decode(token, self._keys(uri), registry=registry)

    def _keys(self, uri: str) -> Any:
        keys: Any = dict(self._get(uri))
        return KeySet.import_key_set(keys)

    def _endpoint(self, name: str) -> str:
        found = self._metadata()
        if found.get("issuer") != self.oidc.issuer:
            raise ProviderError(f"it calls itself {encoding.safe_repr(found.get('issuer'))[:200]}")
        if not isinstance(found.get(name), str):
            raise ProviderError(f"its metadata has no {name}")
        address = str(found[name])
        if not is_safe(address):
            shown = encoding.safe_repr(address)[:200]
            raise ProviderError(f"its {name} must be an address with https, not {shown}")
        return address

    @property
    def _auth_method(self) -> str:
        """The way in which the client's secret is given: what is usual, unless it is not taken."""
        if not self.oidc.client_secret:
            return "none"
        taken = self._metadata().get("token_endpoint_auth_methods_supported")
        is_listed = isinstance(taken, list) and _BASIC not in taken and _POST in taken
        return _POST if is_listed else _BASIC

    def _metadata(self) -> Mapping[str, Any]:
        return self._get(f"{self.oidc.issuer.rstrip('/')}/.well-known/openid-configuration")

    def _get(self, url: str) -> Mapping[str, Any]:
        """The JSON object at *url*, at most an hour old. Raises `ProviderError`."""
        with self._lock:
            until, known = self._known.get(url, (0.0, {}))
        if self._clock() < until:
            if isinstance(known, ProviderError):
                raise ProviderError(*known.args)
            return known
        try:
            found = self._read(url)
        except ProviderError as error:
            self._keep(url, _AGAIN, error)
            raise
        self._keep(url, _FRESH, found)
        return found

    def _read(self, url: str) -> Mapping[str, Any]:
        try:
            with (
                OAuth2Session() as session,
                session.get(
                    url, timeout=_SECONDS, withhold_token=True, allow_redirects=False, stream=True
                ) as answer,
            ):
                answer.raise_for_status()
                found = json.loads(answer.raw.read(_LARGEST, decode_content=True))
        except Exception as error:
            raise ProviderError(f"{url} cannot be read: {_text(error)}") from error
        if not isinstance(found, dict):
            raise ProviderError(f"{url} is no JSON object")
        return found

    def _keep(self, url: str, seconds: float, found: Mapping[str, Any] | ProviderError) -> None:
        with self._lock:
            self._known[url] = (self._clock() + seconds, found)

    def _forget(self, url: str) -> None:
        with self._lock:
            self._known.pop(url, None)

    def _session(self, redirect_uri: str) -> Any:
        return OAuth2Session(
            self.oidc.client_id,
            self.oidc.client_secret,
            scope=self.oidc.scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=self._auth_method,
        )


def _text(error: BaseException) -> str:
    return encoding.clip(encoding.safe_str(error), 300)
