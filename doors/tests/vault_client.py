"""A client of the Vault door, in the test's own process."""

from typing import Any

from aiohttp import ClientSession


class Vault:
    """A client of the door; `rest` is the client of the service's own API, on the same keys."""

    def __init__(self, session: ClientSession, url: str, rest: Any) -> None:
        self.session, self.url, self.rest = session, url, rest

    async def call(
        self, method: str, path: str, body: Any = None, token: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Call `/v1/PATH`; gives the status and the JSON of the answer, None without a body."""
        if token:
            headers["X-Vault-Token"] = token
        sent = {"json": body} if body is not None else {}
        async with self.session.request(
            method, f"{self.url}/v1/{path}", headers=headers, **sent
        ) as answer:
            return answer.status, await answer.json() if await answer.read() else None

    async def refused(self, path: str, **body: Any) -> str:
        """Call a path of Transit, and give the sentence of the refusal; fails if it succeeds."""
        status, answer = await self.call("POST", f"transit/{path}", body)
        assert status == 400, answer
        sentence: str = answer["errors"][0]
        return sentence

    async def data(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Call, and give `data` of the answer; fails unless the call succeeds."""
        status, answer = await self.call(method, path, body, **more)
        assert status == 200, answer
        return answer["data"]
