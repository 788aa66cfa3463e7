"""Profiles, tokens, and the service itself."""

from collections.abc import Iterator, Iterable, Mapping
from datetime import datetime
from typing import Any

from minikms_client._sync.transport import Transport
from minikms_client.answers import Answer
from minikms_client.models import (
    Algorithm,
    AuditEvent,
    AuditPage,
    NewToken,
    OwnToken,
    Profile,
    ProfileSettings,
    Token,
    TokenPage,
)
from minikms_client.shapes import each, flag, members, text, texts
from minikms_client.wire import UNSET, Call, UnsetType, encode_time, next_page, present, segment


class Administration(Transport):
    """Tasks of an operator, and information about the service."""

    def create_profile(self, name: str) -> str:
        """Make a profile; return its name."""
        call = Call("POST", "/profile", {"name": name}, is_repeatable=False)
        return self._read(call, lambda data: text(data["name"]))

    def list_profiles(self) -> tuple[str, ...]:
        """Return the names of the profiles, sorted."""
        names: tuple[str, ...] = ()
        for answer in self._profiles():
            names += answer.read(lambda data: texts(data["profiles"]))
        return names

    def profile_settings(self) -> dict[str, ProfileSettings]:
        """Return the settings of each profile that has some, by name."""
        found: dict[str, ProfileSettings] = {}
        for answer in self._profiles(("include", "jwks")):
            found |= answer.read(_settings)
        return found

    def _profiles(self, *given: tuple[str, str]) -> Iterator[Answer]:
        """Yield the pages of the listing of profiles."""
        query = [*given]
        while True:
            answer = self._send(Call("GET", "/profiles", query=query))
            yield answer
            after = next_page(answer.headers.get("Link"))
            if after is None:
                return
            query = [*given, ("after", after)]

    def change_profile(
        self,
        name: str,
        *,
        jwks: str | None = None,
        max_keys: int | UnsetType | None = UNSET,
        min_deletion_delay: int | UnsetType | None = UNSET,
        calls_per_second: int | UnsetType | None = UNSET,
        delete_scope: bool | None = None,
        frozen: bool | None = None,
        jwks_max_age: int | UnsetType | None = UNSET,
    ) -> Profile:
        """Change the given settings; None removes a bound.

        Return the profile with all settings. `jwks` makes the JWK Set "public" for everyone, or
        "private" for callers. The deletion of a key is delayed by at least `min_deletion_delay`
        seconds, and with `delete_scope` it needs the scope `keys:delete`. In a profile that is
        `frozen`, nothing changes. Readers may keep the JWK Set for `jwks_max_age` seconds.
        """
        body = present(jwks=jwks, delete_scope=delete_scope, frozen=frozen)
        bounds = {
            "max_keys": max_keys,
            "min_deletion_delay": min_deletion_delay,
            "calls_per_second": calls_per_second,
            "jwks_max_age": jwks_max_age,
        }
        body |= {name: bound for name, bound in bounds.items() if bound is not UNSET}
        call = Call("PATCH", f"/profile/{segment(name)}", body)
        return self._read(call, Profile.from_json)

    def delete_profile(self, name: str) -> bool:
        """Delete the profile with all its keys; return False if it does not exist."""
        call = Call("DELETE", f"/profile/{segment(name)}", is_repeatable=False)
        return self._read(call, lambda data: flag(data["success"]))

    def create_token(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        profiles: Iterable[str] | None = None,
        expires: datetime | None = None,
    ) -> NewToken:
        """Make a token for `scopes`; if `profiles` are given, it is valid only in these."""
        body = present(
            name=name,
            scopes=list(scopes),
            profiles=None if profiles is None else list(profiles),
            expires=encode_time(expires),
        )
        call = Call("POST", "/tokens", body, is_repeatable=False)
        return self._read(call, NewToken.from_json)

    def list_tokens(self, *, limit: int | None = None, after: str | None = None) -> TokenPage:
        """Return the record of each token, oldest first.

        With `limit`, return a page of at most `limit` tokens (1 to 1,000). `after` comes from the
        previous page.
        """
        found: tuple[Token, ...] = ()
        while True:
            given = present(limit=limit, after=after)
            query = [(name, str(value)) for name, value in given.items()]
            answer = self._send(Call("GET", "/tokens", query=query))
            found += answer.read(lambda data: each(Token.from_json, data))
            after = next_page(answer.headers.get("Link"))
            if after is None or limit is not None:
                return TokenPage.of(found, after)

    def get_own_token(self) -> OwnToken:
        """Return the permissions of the caller's own token."""
        return self._read(Call("GET", "/tokens/self"), OwnToken.from_json)

    def revoke_token(self, token: str) -> str:
        """Revoke the token with this id; return the id."""
        call = Call("DELETE", f"/tokens/{segment(token)}", is_repeatable=False)
        return self._read(call, lambda data: text(data["id"]))

    def list_audit_events(
        self,
        *,
        kid: str | None = None,
        alias: str | None = None,
        who: str | None = None,
        operation: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> AuditPage:
        """Return a page of at most `limit` events (1 to 1,000) of the audit log, newest first.

        `alias` stands for all keys that it names or has named in the client's profile, "default" by
        default; it also needs the scope `keys:read`, and raises AliasNotFound. `outcome` is "ok",
        "failed" or the slug of a problem. A client with a profile gets the events of that profile;
        a client without one gets the events of all profiles of its token. `after` comes from the
        previous page. A page may have fewer events, or none, even if more pages follow.
        """
        given = present(
            kid=kid,
            alias=alias,
            who=who,
            operation=operation,
            outcome=outcome,
            profile=self.profile,
            since=encode_time(since),
            until=encode_time(until),
            limit=limit,
            after=after,
        )
        query = [(name, str(value)) for name, value in given.items()]
        answer = self._send(Call("GET", "/audit", query=query))
        link = answer.headers.get("Link")
        return answer.read(
            lambda data: AuditPage(each(AuditEvent.from_json, data), next_page(link))
        )

    def audit_events(
        self,
        *,
        kid: str | None = None,
        alias: str | None = None,
        who: str | None = None,
        operation: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[AuditEvent]:
        """Yield every event that `list_audit_events` finds, page by page."""
        after = None
        while True:
            page = self.list_audit_events(
                kid=kid,
                alias=alias,
                who=who,
                operation=operation,
                outcome=outcome,
                since=since,
                until=until,
                after=after,
            )
            for event in page.events:
                yield event
            after = page.after
            if after is None:
                return

    def list_algorithms(self) -> tuple[Algorithm, ...]:
        """Return the installed algorithms."""
        call = Call("GET", "/algorithms")
        return self._read(call, lambda data: each(Algorithm.from_json, data))

    def healthz(self) -> str:
        """Return "alive" as long as the process runs."""
        return self._read(Call("GET", "/healthz"), lambda data: text(data["status"]))

    def readyz(self) -> str:
        """Return "ready" once the store answers; until then raise an Unavailable."""
        return self._read(Call("GET", "/readyz"), lambda data: text(data["status"]))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the service."""
        return self._read(Call("GET", "/openapi.json"), members)


def _settings(data: Mapping[str, Any]) -> dict[str, ProfileSettings]:
    found = members(data.get("settings", {}))  # an older service sends no settings
    return {name: ProfileSettings.from_json(settings) for name, settings in found.items()}
