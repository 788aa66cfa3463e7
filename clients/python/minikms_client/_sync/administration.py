"""Profiles, tokens, and the service itself."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from minikms_client._sync.transport import Transport
from minikms_client.models import Algorithm, NewToken, Profile, Token
from minikms_client.wire import Call, encode_time, present, segment


class Administration(Transport):
    """What an operator does, and what a service says of itself."""

    def create_profile(self, name: str) -> str:
        """Make a profile; its name."""
        call = Call("POST", "/profile", {"name": name}, is_repeatable=False)
        return str((self._json(call))["name"])

    def list_profiles(self) -> tuple[str, ...]:
        """The names of the profiles, sorted."""
        return tuple((self._json(Call("GET", "/profiles")))["profiles"])

    def change_profile(self, name: str, *, jwks: str) -> Profile:
        """Let everybody read the profile's JWK Set, "public", or its callers alone, "private"."""
        call = Call("PATCH", f"/profile/{segment(name)}", {"jwks": jwks})
        data = self._json(call)
        return Profile(data["name"], data["jwks"])

    def delete_profile(self, name: str) -> bool:
        """Delete the profile with all its keys; False where it is not there."""
        call = Call("DELETE", f"/profile/{segment(name)}", is_repeatable=False)
        return bool((self._json(call))["success"])

    def create_token(
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
        data = self._json(Call("POST", "/tokens", body, is_repeatable=False))
        return NewToken(data["token"], Token.from_json(data["record"]))

    def list_tokens(self) -> tuple[Token, ...]:
        """What is recorded of each token, the oldest first."""
        return tuple(map(Token.from_json, self._json(Call("GET", "/tokens"))))

    def revoke_token(self, token: str) -> str:
        """Revoke the token with this id; its id."""
        call = Call("DELETE", f"/tokens/{segment(token)}", is_repeatable=False)
        return str((self._json(call))["id"])

    def list_algorithms(self) -> tuple[Algorithm, ...]:
        """The algorithms that are installed."""
        return tuple(map(Algorithm.from_json, self._json(Call("GET", "/algorithms"))))

    def healthz(self) -> str:
        """Say "alive", as long as the process is."""
        return str((self._json(Call("GET", "/healthz")))["status"])

    def readyz(self) -> str:
        """Say "ready", once the store answers; until then it raises an Unavailable."""
        return str((self._json(Call("GET", "/readyz")))["status"])

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of the service."""
        document: dict[str, Any] = self._json(Call("GET", "/openapi.json"))
        return document
