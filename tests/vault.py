"""A client of Vault's protocol that sends any request."""

import contextlib
import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ROOT_TOKEN = "root"


class Answer(NamedTuple):
    """The status and the body of an answer, which is None if it is empty."""

    status: int
    body: Any

    @property
    def data(self) -> Any:
        """The `data` of a success."""
        assert self.status == 200, self
        return self.body["data"]


class Vault:
    """A server, called with a token."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self.token = url, token
        self.headers = {"X-Vault-Token": token} if token else {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Call a path below /v1/; a body of bytes is sent as it is."""
        if not isinstance(body, bytes | None):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, f"/v1/{path}", body, {**self.headers, **headers})
            response = connection.getresponse()
            text = response.read()
        return Answer(response.status, json.loads(text) if text else None)
