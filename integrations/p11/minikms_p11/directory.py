"""The keys that a token of the service sees in a profile, for all programs with that token."""

import asyncio
import re
import time
from typing import Final

from minikms_p11 import constants as c
from minikms_p11.handles import Handles, Reference
from minikms_p11.jwk import thumbprint_of_template
from minikms_p11.keys import ID_LABEL, LONGEST_ID, NAME, NAME_LABEL, Key
from minikms_p11.objects import CertificateObject, KeyObject, matches, objects_of
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller, Service
from minikms_p11.slots import Slot
from minikms_p11.wire import Template

_KID: Final = re.compile(rb"[A-Za-z0-9_-]{1,128}", re.ASCII)
_PAGE: Final = "1000"  # keys


class Directory:
    """Keys of a profile, each as it was last read from the service.

    A search by CKA_ID, by CKA_LABEL or by the public key asks the service for that key; any other
    search reads all keys, at most once in `fresh` seconds. A key that was read is used for as long.
    """

    def __init__(self, service: Service, profile: str, handles: Handles, fresh: float) -> None:
        self._service, self._profile, self._handles = service, profile, handles
        self._fresh = fresh
        self._keys: dict[str, Key] = {}
        self._read_at: dict[str, float] = {}
        self._listed_at = -fresh
        self._listing = asyncio.Lock()  # one at a time

    async def find(self, caller: Caller, slot: Slot, template: Template) -> list[int]:
        """The handles of the objects that fit the template."""
        keys = await self._candidates(caller, template)
        wanted = template.get(c.CKA_CLASS)
        seen = set()
        handles = []
        shown = [key for key in keys if slot.shows(key)]
        own = {CertificateObject(key, 0).fingerprint for key in shown if key.certificates}
        for key in shown:
            for found in objects_of(key):
                if wanted not in (None, found.object_class) or not matches(found, template):
                    continue
                if isinstance(found, CertificateObject):
                    fingerprint = found.fingerprint
                    # A certificate in the chains of several keys is one object, even if it is also
                    # a key's own certificate.
                    if fingerprint in seen or (found.index and fingerprint in own):
                        continue
                    seen.add(fingerprint)
                handles.append(self._handles.of(reference_of(self._profile, found)))
        return handles

    def known(
        self, slot: Slot, handle: int, *, fresh: bool
    ) -> KeyObject | CertificateObject | None:
        """The object of a handle if its key is in memory, and read lately if it has to be fresh."""
        reference = self._reference(handle)
        key = self._keys.get(reference.kid)
        if key is None or (fresh and self._is_old(self._read_at[key.kid])):
            return None
        return _object(slot, key, reference)

    async def read(self, caller: Caller, slot: Slot, handle: int) -> KeyObject | CertificateObject:
        """The object of a handle, as the service has it now."""
        reference = self._reference(handle)
        key = await self._by_kid(caller, reference.kid)
        if key is None:
            raise Refusal(c.CKR_OBJECT_HANDLE_INVALID)
        return _object(slot, key, reference)

    def keep(self, key: Key) -> None:
        """Take a key over that the service has just answered."""
        self._keys[key.kid] = key
        self._read_at[key.kid] = time.monotonic()

    def forget(self, kid: str) -> None:
        """Drop a key and the listing, so that both are read again at the next use."""
        self._drop(kid)
        self._listed_at = -self._fresh

    def _drop(self, kid: str) -> None:
        self._keys.pop(kid, None)
        self._read_at.pop(kid, None)

    async def all(self, caller: Caller, *, now: bool = False) -> list[Key]:
        """All keys, read at most once in `fresh` seconds, or as they are now."""
        async with self._listing:
            if now or self._is_old(self._listed_at):
                await self._list(caller)
            return list(self._keys.values())

    async def _candidates(self, caller: Caller, template: Template) -> list[Key]:
        if c.CKA_ID in template and template[c.CKA_ID] != b"":
            return await self._by_id(caller, template[c.CKA_ID])
        if c.CKA_LABEL in template:
            named = await self._by_name(caller, template[c.CKA_LABEL])
            # The label of a certificate that certifies keys is its own common name.
            if named or template.get(c.CKA_CLASS) not in (None, c.CKO_CERTIFICATE):
                return named
        kid = thumbprint_of_template(template)
        if kid is not None:
            key = await self._by_kid(caller, kid)
            return [] if key is None else [key]
        return await self.all(caller)

    async def _by_id(self, caller: Caller, value: object) -> list[Key]:
        """The key with this kid, otherwise those to which programs gave this CKA_ID."""
        if not isinstance(value, bytes) or len(value) > LONGEST_ID:
            return []
        if _KID.fullmatch(value) and (key := await self._by_kid(caller, value.decode())):
            return [key]
        return await self._labelled(caller, ID_LABEL, value.hex())

    async def _by_name(self, caller: Caller, value: object) -> list[Key]:
        """The key with this alias or kid, otherwise those to which programs gave this label."""
        if not isinstance(value, bytes):
            return []
        try:
            name = value.decode()
        except UnicodeDecodeError:
            return []
        if not NAME.fullmatch(name):
            return []
        if found := await self._read_page(caller, {"alias": name}):
            return found
        if _KID.fullmatch(value) and (key := await self._by_kid(caller, name)):
            return [key]
        return await self._labelled(caller, NAME_LABEL, name)

    async def _labelled(self, caller: Caller, name: str, value: str) -> list[Key]:
        """Keys with a label: the service goes through all keys, as for a listing."""
        async with self._listing:
            return await self._read_page(caller, {"label": f"{name}:{value}"})

    async def _by_kid(self, caller: Caller, kid: str) -> Key | None:
        try:
            record = await self._service.call(caller, "GET", f"key/{kid}")
        except Problem as problem:
            if problem.slug != "key-not-found":
                raise
            self._drop(kid)
            return None
        key = Key.read(record)
        if key is None:
            self._drop(kid)
        else:
            self.keep(key)
        return key

    async def _read_page(self, caller: Caller, query: dict[str, str]) -> list[Key]:
        records, _ = await self._service.page(caller, "keys", {**query, "limit": _PAGE})
        found = list(filter(None, map(Key.read, records)))
        for key in found:
            self.keep(key)
        return found

    async def _list(self, caller: Caller) -> None:
        began, last = time.monotonic(), self._handles.last
        kids: set[str] = set()  # also of keys that are not shown now
        keys: dict[str, Key] = {}
        query = {"limit": _PAGE}
        while query:
            records, following = await self._service.page(caller, "keys", query)
            kids.update(record["kid"] for record in records)
            keys.update((key.kid, key) for key in filter(None, map(Key.read, records)))
            query = dict(following or {})
        read_at = dict.fromkeys(keys, began)
        for kid, key in self._keys.items():  # read, or made, meanwhile
            if self._read_at[kid] >= began:
                keys[kid], read_at[kid] = key, self._read_at[kid]
        self._keys, self._read_at, self._listed_at = keys, read_at, began
        self._handles.keep(self._profile, kids, last)

    def _is_old(self, read_at: float) -> bool:
        return time.monotonic() >= read_at + self._fresh

    def _reference(self, handle: int) -> Reference:
        reference = self._handles.references.get(handle)
        if reference is None or reference.profile != self._profile:
            raise Refusal(c.CKR_OBJECT_HANDLE_INVALID)
        return reference


def reference_of(profile: str, found: KeyObject | CertificateObject) -> Reference:
    """Return the reference that an object's handle stands for."""
    fingerprint = found.fingerprint.hex() if isinstance(found, CertificateObject) else ""
    return Reference(profile, found.key.kid, found.object_class, fingerprint)


def _object(slot: Slot, key: Key, reference: Reference) -> KeyObject | CertificateObject:
    if slot.shows(key):
        for found in objects_of(key):
            # First the class, which takes no hash.
            if (
                found.object_class == reference.object_class
                and reference_of(reference.profile, found) == reference
            ):
                return found
    raise Refusal(c.CKR_OBJECT_HANDLE_INVALID)
