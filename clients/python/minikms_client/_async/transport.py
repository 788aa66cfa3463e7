"""Calls and answers over HTTP, with retries."""

import os
from collections.abc import Callable
from copy import copy
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from minikms_client.answers import LARGEST, Answer
from minikms_client.errors import UnexpectedAnswer, Unreachable, reason
from minikms_client.retries import Retries
from minikms_client.settings import settings, tls_context
from minikms_client.wire import Call

ResultT = TypeVar("ResultT")


class AsyncTransport:
    """A connection to the service, and the identity of the caller.

    Missing arguments come from MINIKMS_URL, MINIKMS_TOKEN, MINIKMS_TOKEN_FILE, MINIKMS_PROFILE,
    MINIKMS_CA, MINIKMS_CERT and MINIKMS_CERT_KEY. `timeout` is in seconds, for each of connecting,
    sending and waiting for an answer. `ca` is a file of trusted authorities, `cert` has the files
    of the caller's certificate and private key. A temporarily refused call is repeated up to
    `retries` times. The pauses double from 0.1 seconds on; the service may ask for longer ones, and
    none is longer than `longest_wait` seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        timeout: float = 30,
        retries: int = 6,
        longest_wait: float = 10,
        ca: str | os.PathLike[str] | None = None,
        cert: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    ) -> None:
        self._settings = settings(url, token, token_file, profile)
        self._profile = self._settings.profile
        self._retries = Retries(retries, longest_wait)
        self._http = httpx.AsyncClient(
            base_url=self._settings.url,
            timeout=timeout,
            verify=tls_context(self._settings.url, ca, cert),
            limits=httpx.Limits(max_connections=None),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.url!r}, profile={self._profile!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, which clients of `for_profile` share."""
        await self._http.aclose()

    @property
    def url(self) -> str:
        """The URL of the service."""
        return self._settings.url

    @property
    def profile(self) -> str | None:
        """The profile of the calls; None is the service's default."""
        return self._profile

    def for_profile(self, profile: str | None) -> Self:
        """Return a client for another profile, over the same connections."""
        other = copy(self)
        other._profile = profile
        return other

    async def _read(self, call: Call, form: Callable[[Any], ResultT]) -> ResultT:
        """Return the answer's JSON as `form` reads it; raises as `_send`."""
        return (await self._send(call)).read(form)

    async def _send(self, call: Call, headers: dict[str, str] | None = None) -> Answer:
        """Return the answer to a call; raises ProblemError, Unreachable or UnexpectedAnswer.

        If the token is refused, and its file has another one now, the call is sent once more: the
        service refuses a token before it does anything.
        """
        attempt, is_renewed = 0, False
        while True:
            wait: float | None
            own = self._settings.headers(self._profile)
            try:
                answer = await self._attempt(call, {**own, **(headers or {})})
            except httpx.TransportError as error:
                wait = self._retries.after_failure(call, error, attempt)
                if wait is None:
                    url, why = self._settings.url, reason(error)
                    raise Unreachable(f"{url} does not answer: {why.rstrip('.')}.") from error
            else:
                if answer.status in (200, 304):
                    return answer
                if answer.status == 401 and not is_renewed:
                    is_renewed = self._settings.are_renewed(own, self._profile)
                    if is_renewed:
                        continue
                failure = answer.failure()
                wait = self._retries.after_answer(call, failure, attempt)
                if wait is None:
                    raise failure
            await anyio.sleep(wait)
            attempt += 1

    async def _attempt(self, call: Call, headers: dict[str, str]) -> Answer:
        """Return the answer to one attempt; raises UnexpectedAnswer if it is too large."""
        sent = self._http.stream(
            call.method,
            call.path,
            params=tuple(call.query),
            json=call.body,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", **headers},
        )
        async with sent as response:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > LARGEST:
                    raise UnexpectedAnswer(response.status_code)
            return Answer(response.status_code, response.headers, bytes(body), response.extensions)
