"""Read answers over HTTP: successes, and pages of a listing; answer a listing without an end."""

import re
from typing import Any

from minikms.web.messages import stream
from minikms.web.schemas.system_bodies import Health


def bearer(token: str) -> dict[str, str]:
    """The header of a call with this token."""
    return {"Authorization": f"Bearer {token}"}


async def ok(response: Any) -> Any:
    """Assert that a call has succeeded, and give the answer's body."""
    assert response.status == 200, await response.text()
    return await response.json()


async def endless(request: Any) -> Any:
    """Answer a listing without an end."""

    async def pages() -> Any:
        while True:
            yield [{"status": "x" * 1000}] * 50

    return await stream(request, Health(), pages())


async def pages(client: Any, path: str) -> list[list[str]]:
    """The kids of every page from `path` on, by its links."""
    found = []
    while path:
        async with client.get(path) as response:
            assert response.status == 200
            found.append([key["kid"] for key in await response.json()])
            link = re.fullmatch(r'<(/keys\?[!-~]+)>; rel="next"', response.headers.get("Link", ""))
        path = link[1] if link else ""
    return found
