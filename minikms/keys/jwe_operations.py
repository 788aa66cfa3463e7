"""How a JWE is made: an operation with several keys, which are found as those of others are."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from minikms.events import keep_key
from minikms.keys.jwe_encryption import AsSender, EncryptJwe, Made, ToRecipient
from minikms.keys.operation import UsableKey
from minikms.keys.operations import KeyOperations, name_in_event
from minikms.keys.threads import is_slow, run

_TO_RECIPIENT = ToRecipient()
_AS_SENDER = AsSender()


class JweOperations(KeyOperations):
    """Performs operations, and makes JWEs.

    The event of the call has all keys of the store: first the sender's, or else the first
    recipient's.
    """

    async def encrypt_jwe(self, profile: str, jwe: EncryptJwe) -> Made:
        """A JWE for the keys that it names.

        Raises what `EncryptJwe` does, and for each key what an operation does.
        """
        jwe.check()
        keys = [await self._key(profile, each.by, _TO_RECIPIENT) for each in jwe.recipients]
        sender = None
        if jwe.sender is not None:
            sender = await self._key(profile, jwe.sender, _AS_SENDER)
        _name_all_in_event(sender, keys)
        is_long = jwe.is_long or _is_any_slow(keys)
        compute = partial(jwe.compute, keys, sender)
        return await run(keys[0].algorithm, keys[0].operation, compute, is_long=is_long)


def _is_any_slow(keys: Sequence[UsableKey[Any]]) -> bool:
    return any(is_slow(key.algorithm, key.operation) for key in keys)


def _name_all_in_event(sender: UsableKey[Any] | None, keys: Sequence[UsableKey[Any]]) -> None:
    for key in (*reversed(keys), *([sender] if sender else ())):
        name_in_event(key)
        keep_key()
