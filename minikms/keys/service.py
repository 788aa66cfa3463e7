"""Creates, manages and uses keys.

It is over 300 lines, since it is the one interface of keys to the wings above. Its methods follow
the life of a key; the use of keys is in the classes that it inherits from.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias, Unpack

from minikms.encodings import PRIVATE_MEMBERS
from minikms.errors import (
    AliasNotFound,
    KeyNotFound,
    KeyNotUsable,
    KeyUnreadable,
    KmsError,
    ProfileNotFound,
    StoreUnavailable,
    UnsupportedOperation,
    UnsupportedOption,
)
from minikms.events import CURRENT, AuditEvent, AuditSink, keep_key, set_key
from minikms.keys.deletions import DueDeletions
from minikms.keys.described_keys import LastUseOperations
from minikms.keys.encryption import Unwrap
from minikms.keys.jose.attestation import (
    Attestation,
    SignAttestation,
    not_attestable,
    require_attestable,
)
from minikms.keys.jose.jwe_encryption import JweOperations
from minikms.keys.jose.jwk_set import JwkFilter, JwkSet
from minikms.keys.jose.jwk_sets import JwkSets
from minikms.keys.jose.jws import CertificateHeader
from minikms.keys.making import KeyMaker, KeyPair, is_slow_to_make, maker, require_fitting
from minikms.keys.operations import By, KeySettings
from minikms.keys.providers.objects import ObjectMaker
from minikms.keys.versions import VersionOperations
from minikms.keys.x509.certificates import read_chain, with_chain
from minikms.keys.x509.certification import CertificateRequest, IssueCertificate
from minikms.keys.x509.requests import MakeCsr
from minikms.plugin.protocol import (
    JwkImporter,
    KeyAlgorithm,
    SecretImporter,
    SeedImporter,
    Stored,
)
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import ProfileSettings
from minikms.records import (
    SECOND,
    AliasBinding,
    AnyKey,
    KeyPolicy,
    KeyRecord,
    KeyRef,
    KeySource,
    State,
    require_own_aliases,
)
from minikms.rules import Rules
from minikms.store.askar.errors import UndecryptableError
from minikms.store.cache import NOTHING
from minikms.store.keys.key_store import (
    Check,
    CheckVersions,
    KeyStore,
    no_check,
    no_check_of_versions,
)
from minikms.store.keys.rotation import NotDueError, NotRotatableError, Successor
from minikms.store.profiles.tenancy import Tenancy

LOGGER = logging.getLogger(__name__)

# Makes the record and the material of a key.
MakeKey: TypeAlias = Callable[[], tuple[KeyRecord, Stored]]

_PAGE: Final = 1000

# The number of profiles that one call looks at before others go on.
_NAMES: Final = 100

# Nanoseconds until a sweep looks again at a key that is due for rotation and cannot be rotated.
_POSTPONED: Final = 3600 * SECOND


class KeyService(JweOperations, VersionOperations, LastUseOperations):
    """Creates, finds, changes and deletes the keys of tenants, and performs operations with them.

    `profile` names the tenant. Another tenant's keys look as if they did not exist. Calls that
    take an alias to change or delete by raise ValidationFailed if another protocol owns it.
    """

    def __init__(
        self, registry: AlgorithmRegistry, store: KeyStore, **settings: Unpack[KeySettings]
    ) -> None:
        super().__init__(registry, store, **settings)
        self._maker = KeyMaker()
        self.objects = ObjectMaker(store)
        self.deletions = DueDeletions(store, {each.name: each.destroy for each in self.providers})
        self._jwk_sets = JwkSets(registry, store, settings.get("cache", NOTHING))

    # Creating keys

    async def generate(self, profile: str, alg: str, policy: KeyPolicy) -> KeyRecord:
        """Make a key and store it.

        Raises UnsupportedAlgorithm, UnsupportedOption, AliasExists, TooManyKeys, TooLargeRecord,
        TooBusy and ProviderUnavailable.
        """
        require_own_aliases(self.reserved_aliases, *policy.aliases)
        algorithm = self._registry.get(alg)
        insert = partial(
            self._store.insert,
            profile,
            aliases=policy.aliases,
            binding=policy.alias_taken,
            is_unique=True,
            kept=policy.keep_versions,
        )
        if policy.provider is not None:
            making = self._making_at_provider(profile, algorithm, policy)
            async with making as [(record, material)]:
                set_key(record.kid, record.alg)
                return await insert(record, material)
        make = maker(algorithm, policy, algorithm.generate)
        record, material = await self._maker.in_turn(profile, algorithm, "generate", make)
        set_key(record.kid, record.alg)
        return await insert(record, material)

    async def generate_batch(
        self,
        profile: str,
        alg: str,
        count: int,
        policy: KeyPolicy,
        check: Callable[[], None] = lambda: None,
    ) -> list[KeyRecord]:
        """Make `count` keys in threads of batches, and store all or none of them.

        Raises UnsupportedAlgorithm, UnsupportedOperation, UnsupportedOption, TooManyKeys,
        TooLargeRecord, TooBusy and ProviderUnavailable. `check` is called now and then, and raises
        if the caller is gone.
        """
        policy.require_bounded(count)
        algorithm = self._registry.get(alg)
        if policy.provider is not None:
            making = self._making_at_provider(profile, algorithm, policy, count, check)
            async with making as keys:
                return await self._store.insert_all(profile, keys)
        make = maker(algorithm, policy, algorithm.generate)

        def make_some(places: Sequence[int]) -> list[tuple[KeyRecord, Stored]]:
            return [make() for _ in places]

        slow = is_slow_to_make(algorithm, "generate")
        made = await self.batches.run(profile, range(count), make_some, check, slow=slow)
        return await self._store.insert_all(profile, made)

    @asynccontextmanager
    async def _making_at_provider(
        self,
        profile: str,
        algorithm: KeyAlgorithm[Any],
        policy: KeyPolicy,
        count: int = 1,
        check: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[list[tuple[KeyRecord, Stored]]]:
        """Make `count` keys at the provider of the policy, which the block stores.

        If the block fails, they are destroyed. Raises UnsupportedOption, TooBusy and
        ProviderUnavailable.
        """
        provider = self.providers.asked(policy.provider or "")
        if policy.exportable:
            raise UnsupportedOption("A key of a provider cannot be exported.")
        bound = self._registry.bound(provider.name, algorithm)
        provider.require(algorithm.name)
        maker(bound, policy, bound.generate)  # its errors come first

        def make_some(some: Sequence[MakeKey]) -> list[tuple[KeyRecord, Stored]]:
            return [make() for make in some]

        async with self.objects.making(profile, provider, count) as being_made:
            makers = [
                maker(bound, policy, partial(being_made.make, bound.make, key_id))
                for key_id in being_made.key_ids
            ]
            if count == 1:
                yield [await provider.run(makers[0], making=True)]
            else:
                yield await provider.making.run(profile, makers, make_some, check, slow=True)

    async def generate_pair(self, profile: str, alg: str) -> KeyPair:
        """Make a key pair that is not stored; raises like `generate`, and UnsupportedOperation."""
        return await self._maker.make_pair(profile, self._registry.get(alg))

    async def import_key(
        self,
        profile: str,
        source: KeySource,
        policy: KeyPolicy,
        *,
        keep: bool = False,
        check: CheckVersions | None = None,
    ) -> KeyRecord:
        """Store the key of `source`; with `keep`, an existing key gets the alias, and is returned.

        With `check`, it is the next version of its one alias, or AliasNotFound is raised. `check`
        is called with the newest record and the versions first, and may raise.
        Raises as `read_key` does, DecryptionFailed, KeyExists, AliasExists and TooManyKeys.
        """
        require_own_aliases(self.reserved_aliases, *policy.aliases)
        if source.wrapped is not None:
            self._registry.get(source.alg or "").require(SecretImporter)
            by = KeyRef(kid=source.unwrap_kid)
            secret = await self.perform(profile, by, Unwrap(source.wrapped))
            keep_key()
            source = replace(source, secret=secret)
        record, material = await self.read_key(profile, source, policy)
        set_key(record.kid, record.alg)
        stored = await self._store.insert(
            profile,
            record,
            material,
            policy.aliases,
            binding=policy.alias_taken if check is None else "update",
            keep=keep,
            check=check,
            kept=policy.keep_versions,
        )
        return await self._described(profile, stored) if keep else self._shown(stored)

    async def read_key(
        self, profile: str, source: KeySource, policy: KeyPolicy
    ) -> tuple[KeyRecord, Stored]:
        """The record and the material of the key of `source`, which is not stored yet.

        Raises UnsupportedAlgorithm, UnsupportedOperation, InvalidKey, TooLargeRecord and TooBusy.
        """
        if policy.provider is not None:
            raise UnsupportedOption("A provider takes no imported key: it makes its keys itself.")
        jwk, named = source.jwk or {}, source.alg
        algorithm = self._registry.for_jwk(jwk) if named is None else self._registry.get(named)
        if source.secret is not None:
            operation = "import-secret"
            create = partial(algorithm.require(SecretImporter).import_secret, source.secret)
        elif source.seed is not None:
            operation = "import-seed"
            create = partial(algorithm.require(SeedImporter).import_seed, source.seed)
        elif PRIVATE_MEMBERS.isdisjoint(jwk):
            return await self._maker.make_public(algorithm, policy, jwk)
        else:
            operation = "import-jwk"
            create = partial(algorithm.require(JwkImporter).import_jwk, jwk)
        make = maker(algorithm, policy, create)
        record, material = await self._maker.in_turn(profile, algorithm, operation, make)
        return replace(record, imported=True), material

    async def add_missing(
        self, profile: str, record: KeyRecord, material: Stored, aliases: Sequence[str]
    ) -> KeyRecord:
        """Store a key that `read_key` gave; raises KeyExists.

        An alias that names another key stays with it. It may be one that a protocol owns.
        """
        return await self._store.insert(profile, record, material, aliases, binding="leave")

    # Listing keys

    async def list_keys(
        self,
        profile: str,
        *,
        limit: int,
        after: str = "",
        alg: str | None = None,
        alias: str | None = None,
        labels: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[KeyRecord], bool]:
        """Up to `limit` keys in order of creation, and whether there are more.

        `after` is the `seq` of the last key of the page before. `alg`, `alias` and `labels` filter.
        """
        name = None if alg is None else self._registry.get(alg).name
        if alias is None:
            page, more = await self._store.page(
                profile, limit=limit, after=after, alg=name, labels=labels
            )
            records = [self._shown(record) for record in page]
            await self.with_last_uses(profile, records)
            return records, more
        try:
            record = await self._store.record(profile, KeyRef(alias=alias))
        except (AliasNotFound, KeyNotFound):
            return [], False
        fits = record.seq > after and record.fits(name, labels)
        return [await self._described(profile, record)] if fits else [], False

    async def pages(
        self,
        profile: str,
        *,
        after: str = "",
        alg: str | None = None,
        alias: str | None = None,
        labels: Sequence[tuple[str, str]] = (),
    ) -> AsyncIterator[list[KeyRecord]]:
        """All keys that `list_keys` finds, page after page; a yielded page is not kept."""
        more = True

        async def next_page() -> list[KeyRecord]:
            nonlocal after, more
            page, more = await self.list_keys(
                profile, limit=_PAGE, after=after, alg=alg, alias=alias, labels=labels
            )
            after = page[-1].seq if page else after
            return page

        while more:
            yield await next_page()

    async def jwk_set(self, profile: str, wanted: JwkFilter) -> JwkSet:
        """The `wanted` public keys of a profile for signatures and encryption, as a JWK Set.

        Each key that is not disabled has a member for its kid and one for each alias, which is the
        `kid` of that member (RFC 7517 section 5).
        """
        return await self._jwk_sets.get(profile, wanted)

    # Changing keys

    async def update(self, profile: str, kid: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Give a key another `state`, `expires`, `labels`, `rules` or `rotate_every`.

        `changes` has some of them. `rotates` is the time of the first scheduled rotation, by
        default a period from now. Raises TooLargeRecord, RulesLoosened, UnsupportedOption for rules
        that do not fit the key, UnsupportedOperation to rotate a public key alone, and KeyNotUsable
        for a key that is scheduled for deletion, or shall be rotated and is not enabled.
        """
        others = dict(changes)
        rules: Rules | None = others.pop("rules", None)
        every, rotates = others.pop("rotate_every", ...), others.pop("rotates", None)

        def change(record: KeyRecord) -> KeyRecord:
            if rules is not None:
                require_fitting(rules, self._registry.of(record))
                record = record.with_rules(rules)
            record = replace(record, **others)
            if every is ...:
                return record
            if every is not None:
                _require_rotatable(record)
            return record.rotating(every, rotates)

        return await self._change(profile, kid, change)

    async def relabel(
        self, profile: str, kid: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> KeyRecord:
        """Give a key the labels that `change` makes of its labels; `change` may raise.

        Raises TooLargeRecord, and KeyNotUsable for a key that is scheduled for deletion.
        """
        return await self._change(
            profile, kid, lambda record: replace(record, labels=change(record.labels))
        )

    async def set_certificates(self, profile: str, kid: str, chain: Sequence[str]) -> KeyRecord:
        """Give a key these certificates in PEM instead of its own.

        Raises InvalidCertificate, TooLargeRecord, UnsupportedOperation for a key that does not
        sign, and KeyNotUsable for a key that is scheduled for deletion.
        """
        # In a thread, since some signatures take milliseconds to verify.
        certificates = await asyncio.to_thread(read_chain, chain)
        return await self._change(profile, kid, lambda record: with_chain(record, certificates))

    async def remove_certificates(self, profile: str, kid: str) -> KeyRecord:
        """Remove the certificates of a key.

        Raises KeyNotUsable for a key that is scheduled for deletion.
        """
        return await self._change(profile, kid, lambda record: replace(record, certificates=()))

    async def _change(
        self, profile: str, kid: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord:
        def changed(record: KeyRecord) -> KeyRecord:
            if record.deletes is not None:
                raise record.not_usable(time.time_ns())
            after = change(record)
            after.require_labels_of(record)
            return after

        return await self._described(profile, await self._store.change(profile, kid, changed))

    async def _described(self, profile: str, record: KeyRecord) -> KeyRecord:
        """A record as answers show it, with the time of its last use."""
        shown = self._shown(record)
        await self.with_last_uses(profile, [shown])
        return shown

    async def associate(
        self, profile: str, kid: str, alias: str, binding: AliasBinding = "move"
    ) -> None:
        """Bind `alias` to this key alone.

        Raises AliasExists, TooManyAliases and TooLargeRecord, and by "update" AliasNotFound.
        """
        require_own_aliases(self.reserved_aliases, alias)
        await self._store.bind_alias(profile, kid, alias, binding)

    async def dissociate(self, profile: str, kid: str | None, alias: str) -> None:
        """Remove `alias` from this key, or from the key that has it if `kid` is None."""
        require_own_aliases(self.reserved_aliases, alias)
        await self._store.unbind_alias(profile, kid, alias)

    async def rotate(self, profile: str, kid: str, *, keep_schedule: bool = False) -> KeyRecord:
        """Replace a key by a new one, which is returned; the old key becomes `verify-only`.

        The period of a key with `rotate_every` begins again, unless `keep_schedule`.

        Raises KeyNotFound, KeyNotUsable if the old key is not enabled, TooBusy, TooManyKeys,
        TooManyAliases, TooLargeRecord, and UnsupportedOperation for a public key alone.
        """
        return await self._rotate(profile, KeyRef(kid=kid), keep_schedule=keep_schedule)

    async def rotate_name(
        self, profile: str, name: str, check: CheckVersions | None = None
    ) -> KeyRecord:
        """Replace the key of an alias as `rotate` does, but leave it enabled.

        `check` is called with its record and its versions first, and may raise. Raises
        AliasNotFound, and otherwise as `rotate` does.
        """
        require_own_aliases(self.reserved_aliases, name)
        return await self._rotate(profile, KeyRef(alias=name), check or no_check_of_versions)

    async def _rotate(
        self,
        profile: str,
        ref: KeyRef,
        check: CheckVersions | None = None,
        *,
        keep_schedule: bool = False,
    ) -> KeyRecord:
        async def store(successor: Successor) -> KeyRecord:
            def scheduled(old: KeyRecord) -> tuple[KeyRecord, Stored]:
                record, material = successor(old)
                return replace(record, rotates=old.rotates), material

            make = scheduled if keep_schedule else successor
            return await self._store.rotate(profile, ref, make, check)

        return await self._replace(profile, ref, store)

    async def _replace(
        self, profile: str, ref: KeyRef, store: Callable[[Successor], Awaitable[KeyRecord]]
    ) -> KeyRecord:
        """Call `store` with the function that makes the successor of the key."""
        found: KeyRecord | None = None  # the key for which a slow one is made
        while True:
            try:
                async with self._making_successor(profile, found) as make:
                    return await store(make)
            except _SlowToMake:
                found = await self._store.record(profile, ref)

    @asynccontextmanager
    async def _making_successor(
        self, profile: str, found: KeyRecord | None
    ) -> AsyncIterator[Successor]:
        """The function that makes the successor of a key for the block, which stores it.

        If it is slow to make, it is made now, for the key that was `found`; if the alias has moved
        to another kind of key meanwhile, the function raises _SlowToMake.
        """

        def successor(old: KeyRecord) -> tuple[KeyRecord, Stored]:
            _require_rotatable(old)
            if made is not None:
                if made_for == (old.alg, _policy_of(old)):
                    return made
                raise _SlowToMake
            algorithm = self._registry.of(old)
            if is_slow_to_make(algorithm, "generate"):
                raise _SlowToMake
            return maker(algorithm, _policy_of(old), algorithm.generate)()

        made: tuple[KeyRecord, Stored] | None = None
        made_for: tuple[str, KeyPolicy] | None = None
        async with AsyncExitStack() as stack:
            if found is not None:
                algorithm, policy = self._registry.of(found), _policy_of(found)
                made_for = found.alg, policy
                if policy.provider is not None:
                    making = self._making_at_provider(profile, algorithm, policy)
                    [made] = await stack.enter_async_context(making)
                elif is_slow_to_make(algorithm, "generate"):
                    make = maker(algorithm, policy, algorithm.generate)
                    made = await self._maker.in_turn(profile, algorithm, "generate", make)
            yield successor

    # Certificates

    async def issue_certificate(self, profile: str, by: By, request: CertificateRequest) -> str:
        """Sign a certificate in PEM with the key `by`; raises as `IssueCertificate` does.

        The subject's key, if it is one of the service, signs a certificate request first: so it
        must be one that may sign now.
        """
        if request.key is not None:
            made = MakeCsr(request.subject or "", request.alternative_names)
            csr = await self.perform(profile, request.key, made)
            keep_key()
            request = replace(request, csr=csr)
        return await self.perform(profile, by, IssueCertificate(request))

    # Deleting keys

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = False) -> KeyRecord:
        """Remove a key and its aliases, and give its record, which has `deletes` if it waits.

        The settings of the profile may require a delay, and that the caller may delete keys, or
        Forbidden is raised.
        """
        require_own_aliases(self.reserved_aliases, ref.alias)
        return await self._store.delete(profile, ref, may_delete=may_delete)

    async def schedule_deletion(
        self,
        profile: str,
        ref: KeyRef,
        after: int,
        *,
        check: Check = no_check,
        may_delete: bool = False,
    ) -> KeyRecord:
        """Schedule the deletion of a key in `after` nanoseconds; it cannot be used until then.

        `check` is called with its record first, and may raise. The settings of the profile apply as
        in `delete`.
        """
        require_own_aliases(self.reserved_aliases, ref.alias)
        due = time.time_ns() + after
        return await self._store.schedule(profile, ref, due, check=check, may_delete=may_delete)

    async def restore(
        self, profile: str, kid: str, *, state: State | None = None, check: Check = no_check
    ) -> KeyRecord:
        """Cancel the scheduled deletion of a key, which gets `state`, or keeps its own for None.

        `check` is called with its record first, and may raise.
        """
        record = await self._store.schedule(profile, KeyRef(kid), None, state=state, check=check)
        return await self._described(profile, record)

    async def sweep(self, sink: AuditSink | None = None) -> None:
        """Remove the keys whose scheduled deletion is due, and rotate those that are due for it.

        Each is an audit event of its own, recorded in `sink`. Raises StoreUnavailable; another
        failure is logged, and does not hold up other keys or profiles.
        """
        await self.drop_stale()
        await self._jwk_sets.drop_stale()
        profiles = await self._store.profiles()
        await self.deletions.sweep(profiles, sink)  # first: rotations may take long
        for profile in profiles:
            try:
                for kid in await self._store.due_rotations(profile):
                    await self._rotate_due(profile, kid, sink)
            except ProfileNotFound:
                continue  # removed meanwhile
            except (KeyUnreadable, UndecryptableError):
                LOGGER.exception("due keys of a profile are not rotated")

    async def _rotate_due(self, profile: str, kid: str, sink: AuditSink | None) -> None:
        """Rotate a key if it is still due, or try again later."""

        async def store(successor: Successor) -> KeyRecord:
            return await self._store.rotate_due(profile, kid, successor)

        outer = CURRENT.set(AuditEvent("rotateKey", sink, profile=profile, kid=kid))
        try:
            await self._replace(profile, KeyRef(kid=kid), store)
            return
        except NotDueError:
            return  # another process has rotated it
        except (StoreUnavailable, ProfileNotFound):
            raise
        except NotRotatableError:
            pass
        except KmsError as exc:  # such as too many versions
            why = exc.detail or exc.title
            LOGGER.warning("the key %s, whose rotation is due, cannot be rotated: %s", kid, why)
        except Exception as exc:  # the text of an algorithm's may hold a secret
            why = type(exc).__name__
            LOGGER.error("the key %s, whose rotation is due, cannot be rotated: %s", kid, why)
        finally:
            CURRENT.reset(outer)
        await self._store.postpone_rotation(profile, kid, time.time_ns() + _POSTPONED)

    # Profiles

    async def create_profile(self, name: str, maker: str = "") -> None:
        """Make an empty profile; raises ProfileExists.

        `maker` is the id of the caller's stored token, empty without one. A token that was made
        before may use the profile only if it has made it.
        """
        await self._store.create_profile(name, maker)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False if it does not exist."""
        return await self._store.remove_profile(name)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        return await self._store.profiles()

    async def tenancy(self, name: str) -> Tenancy:
        """The id of a profile, and the time of its creation; raises ProfileNotFound."""
        return await self._store.tenancy(name)

    async def settings(self) -> dict[str, ProfileSettings]:
        """The settings of all profiles, by name, sorted."""
        return await self._store.settings()

    async def change_settings(self, profile: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all of them; raises ProfileNotFound."""
        return await self._store.change_settings(profile, changes)

    async def publish(self, profile: str, *, public: bool) -> None:
        """Publish the profile's JWK Set, or show it only to callers who may read its keys."""
        await self._store.publish(profile, public=public)

    async def publishes(self, profile: str) -> bool:
        """Tell whether the profile's JWK Set is published."""
        return await self._jwk_sets.is_public(profile)

    async def published(self, profiles: Iterable[str]) -> set[str]:
        """The profiles whose JWK Set is published; without missing and unreadable ones."""
        found = set()
        for place, profile in enumerate(profiles, 1):
            with suppress(ProfileNotFound, KeyUnreadable):
                if await self._jwk_sets.is_public(profile):
                    found.add(profile)
            if place % _NAMES == 0:  # those in the cache take no turn
                await asyncio.sleep(0)
        return found

    # Other

    async def attest(
        self,
        profile: str,
        by: KeyRef,
        attestation: Attestation,
        certificate: CertificateHeader = "none",
    ) -> str:
        """A JWT by the key `by` about other keys of the profile, which the event also names.

        `certificate` names the header member that has the certificate of `by`.

        Raises NotAttestable, and the errors of the signing key as `perform` does.
        """
        operation = SignAttestation(certificate)
        await self._key(profile, by, operation)  # its errors come first
        records: dict[str, KeyRecord] = {}
        for place, each in enumerate(attestation.keys):
            record = await self._key_to_attest(profile, each, place)
            require_attestable(record, place, allow_imported=attestation.allow_imported)
            if record.kid not in records:
                records[record.kid] = record
                keep_key()
        operation.payload = attestation.payload(list(records.values()))
        return await self.perform(profile, by, operation)

    async def _key_to_attest(self, profile: str, key: KeyRef | AnyKey, place: int) -> KeyRecord:
        """The record of a key to attest; raises NotAttestable if there is none."""
        for ref in key.refs if isinstance(key, AnyKey) else (key,):
            try:
                return await self.get(profile, ref)
            except (KeyNotFound, AliasNotFound):
                pass
        raise not_attestable(place, "The profile has no such key.")

    def random(self, length: int) -> bytes:
        """`length` bytes from the system's randomness."""
        return secrets.token_bytes(length)

    async def ping(self) -> None:
        """Return once the store has answered; raises StoreUnavailable."""
        await self._store.ping()


class _SlowToMake(Exception):
    """A key takes too long to be made while a transaction waits."""


def _policy_of(record: KeyRecord) -> KeyPolicy:
    """The policy of a key's successor, which has its aliases and labels besides."""
    return KeyPolicy(
        exportable=record.exportable,
        operations=record.operations,
        rules=record.rules,
        provider=record.provider,
    )


def _require_rotatable(record: KeyRecord) -> None:
    """Raise if a key cannot be replaced by another; an expired key can."""
    if record.material == "none":
        raise UnsupportedOperation("A public key alone is replaced by importing another.")
    record.require_understood()
    if record.replaced:
        raise KeyNotUsable("A rotation has replaced the key already.")
    if record.state != "enabled" or record.deletes is not None:
        raise record.not_usable(time.time_ns())
