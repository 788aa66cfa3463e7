"""Keys: make, import, find, change, name and delete them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from minikms_client._async.transport import AsyncTransport
from minikms_client.models import Association, Deletion, Key, KeyPage
from minikms_client.shapes import each, members
from minikms_client.wire import (
    UNSET,
    Call,
    Json,
    Jwk,
    UnsetType,
    duration,
    encode_optional,
    encode_time,
    next_page,
    present,
    segment,
    whole_seconds,
)

Rules: TypeAlias = str | Mapping[str, Any]
"""The rules of a key: a JSON object, or the name of a preset."""


class AsyncKeys(AsyncTransport):
    """Management of keys."""

    async def generate_key(
        self,
        alg: str,
        *,
        alias: str | None = None,
        alias_taken: str | None = None,
        labels: Mapping[str, str] | None = None,
        operations: Iterable[str] | None = None,
        exportable: bool | None = None,
        expires: datetime | None = None,
        rules: Rules | None = None,
        rotate_every: timedelta | None = None,
        publish_ahead: timedelta | None = None,
        retire_after: timedelta | None = None,
        delete_after: timedelta | None = None,
        provider: str | None = None,
    ) -> Key:
        """Make a key.

        An `alias` that names another key moves to this one, unless `alias_taken` is "refuse".
        `operations` are the permitted operations, by default all of the algorithm except opt-in
        ones. From `expires` on, the key only verifies, decrypts and unwraps. `rules` are the name
        of a preset, such as "sd-jwt-vc", or an object. The service rotates the key every
        `rotate_every`, or deletes it after `delete_after`. It publishes the next key
        `publish_ahead` before each scheduled rotation, and disables a replaced key `retire_after`
        later than its rotation. `provider`, such as an HSM, keeps the private key.
        """
        options = _options(
            labels,
            operations,
            exportable,
            expires,
            rules,
            rotate_every,
            publish_ahead,
            retire_after,
            delete_after,
            provider,
        )
        body = present(alg=alg, alias=alias, alias_taken=alias_taken, **options)
        refuses = alias is not None and alias_taken == "refuse"
        return await self._key("POST", "/key/generate", body, is_repeatable=refuses)

    async def generate_keys(
        self,
        alg: str,
        count: int,
        *,
        labels: Mapping[str, str] | None = None,
        operations: Iterable[str] | None = None,
        exportable: bool | None = None,
        expires: datetime | None = None,
        rules: Rules | None = None,
        rotate_every: timedelta | None = None,
        publish_ahead: timedelta | None = None,
        retire_after: timedelta | None = None,
        delete_after: timedelta | None = None,
        provider: str | None = None,
    ) -> tuple[Key, ...]:
        """Make 1 to 1,000 keys in one transaction: all or none."""
        options = _options(
            labels,
            operations,
            exportable,
            expires,
            rules,
            rotate_every,
            publish_ahead,
            retire_after,
            delete_after,
            provider,
        )
        body = present(alg=alg, count=count, **options)
        call = Call("POST", "/key/generate/batch", body, is_repeatable=False)
        return await self._read(call, lambda data: each(Key.from_json, data["keys"]))

    async def import_key(
        self,
        *,
        jwk: Jwk | None = None,
        alg: str | None = None,
        secret: bytes | None = None,
        seed: bytes | None = None,
        wrapped: bytes | None = None,
        unwrap_kid: str | None = None,
        alias: str | None = None,
        alias_taken: str | None = None,
        if_exists: str | None = None,
        labels: Mapping[str, str] | None = None,
        operations: Iterable[str] | None = None,
        exportable: bool | None = None,
        expires: datetime | None = None,
        rules: Rules | None = None,
        rotate_every: timedelta | None = None,
        publish_ahead: timedelta | None = None,
        retire_after: timedelta | None = None,
        delete_after: timedelta | None = None,
        provider: str | None = None,
    ) -> Key:
        """Import a key: a `jwk`, or `alg` with a `secret`, a `seed` or `wrapped`.

        The `jwk` is private or public. `wrapped` are secret bytes wrapped by the key `unwrap_kid`.
        With `if_exists` "keep", an existing key is returned and is not an error. Providers do not
        support imported keys yet.
        """
        body = present(
            jwk=jwk,
            alg=alg,
            secret=encode_optional(secret),
            seed=encode_optional(seed),
            wrapped=encode_optional(wrapped),
            unwrap_kid=unwrap_kid,
            alias=alias,
            alias_taken=alias_taken,
            if_exists=if_exists,
            **_options(
                labels,
                operations,
                exportable,
                expires,
                rules,
                rotate_every,
                publish_ahead,
                retire_after,
                delete_after,
                provider,
            ),
        )
        # A symmetric key has a random kid, so a second import would make a second key.
        keeps = if_exists == "keep" and jwk is not None and "k" not in jwk
        return await self._key("POST", "/key/import", body, is_repeatable=keeps)

    async def get_key(self, kid: str) -> Key:
        """Return the key with this kid."""
        return await self._key("GET", f"/key/{segment(kid)}")

    async def find_key(self, alias: str) -> Key:
        """Return the key with this alias."""
        call = Call("GET", "/key", query=[("alias", alias)])
        return await self._read(call, Key.from_json)

    async def get_pem(self, *, kid: str | None = None, alias: str | None = None) -> str:
        """Return the public key with this kid or alias as SubjectPublicKeyInfo in PEM (RFC 7468).

        Raises UnsupportedOption for a key without one, such as a symmetric key.
        """
        if kid is not None and alias is None:
            call = Call("GET", f"/key/{segment(kid)}")
        elif alias is not None and kid is None:
            call = Call("GET", "/key", query=[("alias", alias)])
        else:
            raise TypeError("Give kid or alias.")
        answer = await self._send(call, {"Accept": "application/x-pem-file"})
        return answer.pem()

    async def list_keys(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        alg: str | None = None,
        alias: str | None = None,
        label: Mapping[str, str] | None = None,
        unused: timedelta | None = None,
        state: str | None = None,
    ) -> KeyPage:
        """Return a page of at most `limit` keys (1 to 1,000), in order of creation.

        `after` comes from the previous page. Only keys are listed that have all labels in `label`,
        and were not used for the time `unused`. `state` "next" lists only next keys; no other state
        is possible. A page may be short or empty even if its `after` leads to another.
        """
        given = present(limit=limit, after=after, alg=alg, alias=alias, state=state)
        query = [(name, str(value)) for name, value in given.items()]
        query += [("label", f"{name}:{value}") for name, value in (label or {}).items()]
        if unused is not None:
            query.append(("unused", duration(unused)))
        answer = await self._send(Call("GET", "/keys", query=query))
        link = answer.headers.get("Link")
        return answer.read(lambda data: KeyPage(each(Key.from_json, data), next_page(link)))

    async def keys(
        self,
        *,
        alg: str | None = None,
        alias: str | None = None,
        label: Mapping[str, str] | None = None,
        unused: timedelta | None = None,
        state: str | None = None,
    ) -> AsyncIterator[Key]:
        """Yield every key of the listing, page by page."""
        after = None
        while True:
            page = await self.list_keys(
                limit=1000,
                after=after,
                alg=alg,
                alias=alias,
                label=label,
                unused=unused,
                state=state,
            )
            for key in page.keys:
                yield key
            after = page.after
            if after is None:
                return

    async def update_key(
        self,
        kid: str,
        *,
        state: str | None = None,
        expires: datetime | UnsetType | None = UNSET,
        rotate_every: timedelta | UnsetType | None = UNSET,
        publish_ahead: timedelta | UnsetType | None = UNSET,
        retire_after: timedelta | UnsetType | None = UNSET,
        labels: Mapping[str, str] | None = None,
        rules: Rules | None = None,
    ) -> Key:
        """Change the given fields.

        None removes `expires`, `rotate_every`, `publish_ahead` or `retire_after`, and `labels`
        replace all. `rules` replace the rules of the key, and must be at least as tight.
        """
        body = present(state=state, labels=labels, rules=_plain(rules))
        if expires is not UNSET:
            body["expires"] = encode_time(expires)
        periods = {
            "rotate_every": rotate_every,
            "publish_ahead": publish_ahead,
            "retire_after": retire_after,
        }
        body |= {name: whole_seconds(each) for name, each in periods.items() if each is not UNSET}
        return await self._key("PATCH", f"/key/{segment(kid)}", body)

    async def next_key(self, kid: str) -> Key:
        """Return the next key, which the next rotation puts in this key's place; make it if needed.

        It is published and verifies, and makes nothing before the rotation.
        """
        return await self._key("POST", f"/key/{segment(kid)}/next")

    async def rotate_key(self, kid: str, *, if_published: timedelta | None = None) -> Key:
        """Replace this key by its next key, or else a new one; this one then only verifies.

        The new key takes the aliases. Raises TooEarly unless the next key has been published for
        the time `if_published`; by default that is not required.
        """
        published = whole_seconds(if_published)
        query = [] if published is None else [("if_published", str(published))]
        call = Call("POST", f"/key/{segment(kid)}/rotate", query=query, is_repeatable=False)
        return await self._read(call, Key.from_json)

    async def export_key(self, kid: str) -> Jwk:
        """Return the private JWK of an exportable key."""
        call = Call("GET", f"/key/{segment(kid)}/export")
        return await self._read(call, lambda data: members(data["jwk"]))

    async def associate_alias(
        self, kid: str, alias: str, *, alias_taken: str | None = None
    ) -> Association:
        """Give the key an alias; it moves from another key, unless `taken` is "refuse"."""
        body = present(alias=alias, alias_taken=alias_taken)
        call = Call("POST", f"/key/{segment(kid)}/associate", body)
        return await self._read(call, Association.from_json)

    async def dissociate_alias(self, kid: str, alias: str) -> Association:
        """Remove an alias from the key."""
        path, query = f"/key/{segment(kid)}/associate", [("alias", alias)]
        call = Call("DELETE", path, query=query, is_repeatable=False)
        return await self._read(call, Association.from_json)

    async def set_certificates(self, kid: str, certificates: Iterable[str]) -> Key:
        """Give the key these certificates in PEM, its own first, each signed by the next."""
        body = present(certificates=list(certificates))
        return await self._key("PUT", f"/key/{segment(kid)}/certificates", body)

    async def remove_certificates(self, kid: str) -> Key:
        """Remove the certificates of the key."""
        return await self._key("DELETE", f"/key/{segment(kid)}/certificates")

    async def delete_key(self, kid: str, *, after: timedelta | None = None) -> Deletion:
        """Delete the key, now or `after` a time (at most 365 days), in which it can be restored."""
        query = [] if after is None else [("after", duration(after))]
        call = Call("DELETE", f"/key/{segment(kid)}", query=query, is_repeatable=False)
        return await self._read(call, Deletion.from_json)

    async def delete_key_by_alias(self, alias: str, *, after: timedelta | None = None) -> Deletion:
        """Delete the key with this alias, as `delete_key` does."""
        query = [("alias", alias)] + ([] if after is None else [("after", duration(after))])
        call = Call("DELETE", "/key", query=query, is_repeatable=False)
        return await self._read(call, Deletion.from_json)

    async def restore_key(self, kid: str) -> Key:
        """Cancel the scheduled deletion of a key; its previous state applies again."""
        return await self._key("POST", f"/key/{segment(kid)}/restore")

    async def _key(
        self, method: str, path: str, body: Json | None = None, is_repeatable: bool = True
    ) -> Key:
        """Return the key in an answer."""
        call = Call(method, path, body, is_repeatable=is_repeatable)
        return await self._read(call, Key.from_json)


def _options(
    labels: Mapping[str, str] | None,
    operations: Iterable[str] | None,
    exportable: bool | None,
    expires: datetime | None,
    rules: Rules | None,
    rotate_every: timedelta | None,
    publish_ahead: timedelta | None,
    retire_after: timedelta | None,
    delete_after: timedelta | None,
    provider: str | None,
) -> Json:
    """Return the body fields for the options of a new key."""
    return present(
        labels=None if labels is None else dict(labels),
        operations=None if operations is None else list(operations),
        exportable=exportable,
        expires=encode_time(expires),
        rules=_plain(rules),
        rotate_every=whole_seconds(rotate_every),
        publish_ahead=whole_seconds(publish_ahead),
        retire_after=whole_seconds(retire_after),
        delete_after=whole_seconds(delete_after),
        provider=provider,
    )


def _plain(rules: Rules | None) -> Json | str | None:
    """Convert rules to the form in a body."""
    return rules if rules is None or isinstance(rules, str) else dict(rules)
