"""Profiles, tokens, and the service itself."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from minikms_client._async.transport import AsyncTransport
from minikms_client.models import Algorithm, NewToken, Profile, Token
from minikms_client.wire import Call, encode_time, present, segment


class AsyncAdministration(AsyncTransport):
    """What an operator does, and what a service says of itself."""

    async def create_profile(self, name: str) -> str:
        """Make a profile; its name."""
        call = Call("POST", "/profile", {"name": name}, is_repeatable=False)
        return str((await self._json(call))["name"])

    async def list_profiles(self) -> tuple[str, ...]:
        """The names of the profiles, sorted."""
        return tuple((await self._json(Call("GET", "/profiles")))["profiles"])

    async def change_profile(self, name: str, *, jwks: str) -> Profile:
        """Let everybody read the profile's JWK Set, "public", or its callers alone, "private"."""
        call = Call("PATCH", f"/profile/{segment(name)}", {"jwks": jwks})
        data = await self._json(call)
        return Profile(data["name"], data["jwks"])

    async def delete_profile(self, name: str) -> bool:
        """Delete the profile with all its keys; False where it is not there."""
        call = Call("DELETE", f"/profile/{segment(name)}", is_repeatable=False)
        return bool((await self._json(call))["success"])

    async def create_token(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        profiles: Iterable[str] | None = None,
        expires: datetime | None = None,
    ) -> NewToken:
        """Make a token for `scopes`, and for `profiles` alone where they are given."""
        body = present(
            name=name,
            scopes=list(scopes),
            profiles=None if profiles is None else list(profiles),
            expires=encode_time(expires),
        )
        data = await self._json(Call("POST", "/tokens", body, is_repeatable=False))
        return NewToken(data["token"], Token.from_json(data["record"]))

    async def list_tokens(self) -> tuple[Token, ...]:
        """What is recorded of each token, the oldest first."""
        return tuple(map(Token.from_json, await self._json(Call("GET", "/tokens"))))

    async def revoke_token(self, token: str) -> str:
        """Revoke the token with this id; its id."""
        call = Call("DELETE", f"/tokens/{segment(token)}", is_repeatable=False)
        return str((await self._json(call))["id"])

    async def list_algorithms(self) -> tuple[Algorithm, ...]:
        """The algorithms that are installed."""
        return tuple(map(Algorithm.from_json, await self._json(Call("GET", "/algorithms"))))

    async def healthz(self) -> str:
        """Say "alive", as long as the process is."""
        return str((await self._json(Call("GET", "/healthz")))["status"])

    async def readyz(self) -> str:
        """Say "ready", once the store answers; until then it raises an Unavailable."""
        return str((await self._json(Call("GET", "/readyz")))["status"])

    async def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of the service."""
        document: dict[str, Any] = await self._json(Call("GET", "/openapi.json"))
        return document
