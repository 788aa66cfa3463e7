"""Seed keys: keys in a file, loaded at each start with the same kids."""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from minikms.basics.small_files import read_small_file
from minikms.errors import KeyExists, KmsError, ProfileExists, ValidationFailed
from minikms.key_bounds import KID_PATTERN, MAX_ALIASES
from minikms.key_requests import KeyRef
from minikms.keys.service import KeyService
from minikms.plugin.protocol import Stored
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.startup_errors import SeedError
from minikms.web.schemas.base import Request
from minikms.web.schemas.fields import BoundedList, ListOf, Part
from minikms.web.schemas.key_bodies import ImportKey
from minikms.web.schemas.named_fields import alias, kid, profile

LOGGER = logging.getLogger(__name__)


class SeededKey(ImportKey):
    """A key in the file: the body of an import, with a profile and aliases."""

    class Meta:
        """Fields of an import that are not in the file; `aliases` replaces `alias`."""

        exclude = ("wrapped", "unwrap_kid", "alias", "alias_taken", "if_exists")

    one_of = (("jwk",), ("alg", "secret"), ("alg", "seed"))

    profile = profile(load_default=DEFAULT_PROFILE)
    kid = kid()
    aliases = BoundedList(alias(), 0, MAX_ALIASES)


class SeedFile(Request):
    """The content of the file."""

    profiles = ListOf(profile(), load_default=list)
    keys = ListOf(Part(SeededKey), load_default=list)


@dataclass(frozen=True)
class _Seed:
    """A key that is ready to store, and its place in the file."""

    place: str
    profile: str
    record: KeyRecord
    material: Stored = field(repr=False)
    aliases: tuple[str, ...]


_MOST: Final = 64 * 1024 * 1024  # bytes


async def load(file: str, keys: KeyService) -> None:
    """Store the profiles and keys of a file that the store lacks.

    Raises SeedError; if the file has a fault, nothing is stored.
    """
    content = _read(file)
    seeds = [
        await _prepare(keys, f"{file}: keys[{number}]", entry)
        for number, entry in enumerate(content["keys"])
    ]
    _refuse_duplicates(seeds)
    with _located(file):
        for name in dict.fromkeys([*content["profiles"], *(seed.profile for seed in seeds)]):
            with suppress(ProfileExists):
                await keys.profiles.create(name)
        loaded = [await _add(keys, seed) for seed in seeds].count(True)
    LOGGER.info("%s: keys loaded: %d, already there: %d", file, loaded, len(seeds) - loaded)


def _read(file: str) -> dict[str, Any]:
    try:
        text = read_small_file(file, _MOST).content.decode()
        return SeedFile().parse(orjson.loads(text))
    except OSError as exc:
        raise SeedError(f"{file}: It cannot be read: {exc.strerror}.") from None
    except UnicodeDecodeError:
        raise SeedError(f"{file}: It is not UTF-8.") from None
    except orjson.JSONDecodeError as exc:
        where = f"line {exc.lineno}, column {exc.colno}"
        raise SeedError(f"{file}: It is not JSON: {where}.") from None
    except ValidationFailed as exc:
        pointer, what = exc.errors[0]
        # A path such as `keys[3].seed`; an unknown field may have any name.
        place = re.sub(r"/(\d+)(?=/|\Z)", r"[\1]", pointer[1:]).replace("/", ".")[1:]
        shown = f"{place}: ".encode("unicode_escape").decode() if place else ""
        raise SeedError(f"{file}: {shown}{what}") from None


async def _prepare(keys: KeyService, place: str, entry: dict[str, Any]) -> _Seed:
    """Make the key of an entry; raises SeedError."""
    source, given = entry["source"], entry.get("kid")
    with _located(place):
        try:
            record, material = await keys.creation.read_key(
                entry["profile"], source, entry["policy"]
            )
        except KmsError:
            raise
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # an error of a plugin; its message may contain the key
            what = type(exc).__name__
            raise SeedError(f"{place}: Its algorithm failed: {what}.") from None
    if record.jwk is None:  # no thumbprint; a random kid would change
        given = given or (source.jwk or {}).get("kid")
        if not (isinstance(given, str) and re.match(KID_PATTERN, given)):
            what = "A symmetric key needs a kid of 1 to 128 letters, digits, - and _."
            raise SeedError(f"{place}.kid: {what}")
        record = replace(record, kid=given)
    elif given not in (None, record.kid):
        raise SeedError(f"{place}.kid: It is not the key's thumbprint, {record.kid}.")
    return _Seed(place, entry["profile"], record, material, entry["policy"].aliases)


def _refuse_duplicates(seeds: list[_Seed]) -> None:
    """Raise SeedError if a profile would have a key or an alias twice."""
    found = set()
    for seed in seeds:
        names = [(seed.place, "kid", seed.record.kid)]
        for number, name in enumerate(seed.aliases):
            names.append((f"{seed.place}.aliases[{number}]", "alias", name))
        for place, kind, name in names:
            if (seed.profile, kind, name) in found:
                raise SeedError(f"{place}: An earlier entry gives the profile this {kind}.")
            found.add((seed.profile, kind, name))


async def _add(keys: KeyService, seed: _Seed) -> bool:
    """Store a key; False if it is already there."""
    try:
        kept = await keys.creation.add_missing(
            seed.profile, seed.record, seed.material, seed.aliases
        )
    except KeyExists:
        stored = await keys.operations.get(seed.profile, KeyRef(kid=seed.record.kid))
        if seed.record.rules not in (None, stored.rules):
            LOGGER.warning("%s.rules: the stored key has other rules, and keeps them", seed.place)
        return False
    for number, name in enumerate(seed.aliases):
        if name not in kept.aliases:
            LOGGER.warning("%s.aliases[%d] stays with another key", seed.place, number)
    return True


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Convert the service's errors to SeedError, with the place in the file."""
    try:
        yield
    except KmsError as exc:
        raise SeedError(f"{place}: {exc.detail}") from None
