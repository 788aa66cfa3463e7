"""The algorithms by name, made from the classes that entry points name."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Final, NamedTuple, Self

from minikms.basics.plugin_classes import installed, load_class, package_of
from minikms.encodings import jose_b64url
from minikms.errors import InvalidKey, KeyNotUsable, UnsupportedAlgorithm, UnsupportedOption
from minikms.plugin.bound import BoundSigner, bound_to
from minikms.plugin.protocol import API_VERSION, KeyAlgorithm, Mac, Signer
from minikms.plugin.provider import Provider, ProviderSigner
from minikms.records import KeyRecord
from minikms.startup_errors import PluginError, one_line

GROUP: Final = "minikms.algorithms"

_NAME = re.compile(r"[a-z][a-z0-9]*")

# Sizes of `n` that RSA algorithms may have. No member of a JWK states its size.
_RSA_SIZES: Final = (1024, 1536, 2048, 3072, 4096, 6144, 7680, 8192, 15360, 16384)


@dataclass(frozen=True, slots=True)
class Registered:
    """An algorithm, and the name of its package."""

    algorithm: KeyAlgorithm[Any]
    source: str

    @property
    def jose_algs(self) -> tuple[str, ...]:
        """Every JOSE `alg` and `enc` value of its uses, signatures first."""
        algorithm = self.algorithm
        signing = algorithm.signing_algs if isinstance(algorithm, Signer) else ()
        return (*signing, *algorithm.jose_algs)

    @property
    def opt_in(self) -> tuple[str, ...]:
        """Its opt-in operations, in the order of all."""
        algorithm = self.algorithm
        return tuple(op for op in algorithm.key_operations if op in algorithm.opt_in)

    @property
    def jwk_types(self) -> Iterator[dict[str, str]]:
        """The members that identify the type of a JWK, for each type that its keys may have."""
        algorithm = self.algorithm
        common = {"kty": algorithm.kty} | ({"crv": algorithm.crv} if algorithm.crv else {})
        for named in ({}, *({"alg": alg} for alg in self.jose_algs)):
            if algorithm.kty == "RSA":
                for bits in _RSA_SIZES:
                    yield {**common, **named, "n": jose_b64url(bytes([255]) * (bits // 8))}
            else:
                yield {**common, **named}


class _Origin(NamedTuple):
    """The entry point of an algorithm, and the name of its package."""

    entry: str
    package: str

    def __str__(self) -> str:
        return f"entry point {self.entry!r} of the package {self.package!r}"

    @property
    def way_out(self) -> str:
        """The option that starts the service without it."""
        return f"--without-algorithm {self.package}:{self.entry}"


class AlgorithmRegistry:
    """The algorithms of one service, by name or alias.

    Names match without case, hyphens and underscores: `P-256` is `p256`.
    """

    def __init__(self, entries: Iterable[EntryPoint]) -> None:
        """Load `entries`; raises PluginError, naming the entry point that cannot be used."""
        self._registered: list[Registered] = []
        self._by_name: dict[str, KeyAlgorithm[Any]] = {}
        self._by_own_name: dict[str, KeyAlgorithm[Any]] = {}
        self._stated_by: dict[str, _Origin] = {}
        self.providers: Mapping[str, Provider] = {}
        self._bound: dict[tuple[str, str], BoundSigner] = {}
        for origin, entry in sorted(_by_origin(entries), key=lambda found: found[0]):
            self._add(entry, origin)

    @classmethod
    def from_installed(cls, without: Iterable[str] = ()) -> Self:
        """The registry of the entry points of every installed package.

        `without` names entry points to leave out, as NAME or PACKAGE:NAME. Raises PluginError if
        `without` names an unknown entry point, or if two algorithms own the same JWKs.
        """
        registry = cls(_left_in(installed(GROUP), set(without)))
        registry._require_one_owner()
        return registry

    def with_providers(self, providers: Mapping[str, Provider]) -> Self:
        """The same algorithms, and these providers by name."""
        registry = copy.copy(self)
        registry.providers, registry._bound = providers, {}
        return registry

    def __iter__(self) -> Iterator[Registered]:
        return iter(self._registered)

    def get(self, name: str) -> KeyAlgorithm[Any]:
        """The algorithm of this name or alias; raises UnsupportedAlgorithm."""
        algorithm = self._by_name.get(name) or self._by_name.get(_normalize(name))
        if algorithm is None:
            known = ", ".join(entry.algorithm.name for entry in self)
            raise UnsupportedAlgorithm(f"There is no such algorithm. Known: {known}.")
        return algorithm

    def of(self, record: KeyRecord) -> KeyAlgorithm[Any]:
        """The algorithm of a key; raises KeyNotUsable if it is no longer installed.

        A renamed algorithm has its old name, which old keys have, as an alias. If the service lacks
        the key's provider, its algorithm only verifies.
        """
        algorithm = self._by_own_name.get(record.alg) or self._by_name.get(record.alg)
        if algorithm is None:
            raise KeyNotUsable(f"The key's algorithm {record.alg} is not installed.")
        if record.provider is None:
            return algorithm
        if not isinstance(algorithm, ProviderSigner):
            raise KeyNotUsable(f"The key's algorithm {record.alg} has no keys of providers.")
        return self.bound(record.provider, algorithm)

    def bound(self, provider: str, algorithm: KeyAlgorithm[Any]) -> BoundSigner:
        """The algorithm with private keys in a provider; raises UnsupportedOption if it has none.

        The service may have no provider of this name; then the algorithm only verifies.
        """
        found = self._bound.get((provider, algorithm.name))
        if found is None:
            if not isinstance(algorithm, ProviderSigner):
                raise UnsupportedOption(f"A provider has no keys of {algorithm.name}.")
            found = bound_to(provider, self.providers.get(provider), algorithm)
            self._bound[provider, algorithm.name] = found
        return found

    def has(self, record: KeyRecord) -> bool:
        """Tell whether the algorithm of a key is installed."""
        return record.alg in self._by_own_name or record.alg in self._by_name

    def for_jwk(self, jwk: Mapping[str, Any]) -> KeyAlgorithm[Any]:
        """The algorithm that owns a JWK; raises InvalidKey if no algorithm does."""
        for entry in self:
            if entry.algorithm.owns_jwk(jwk):
                return entry.algorithm
        raise InvalidKey(
            "No algorithm here has keys of this kty, crv, alg or size; "
            "an oct JWK tells its algorithm by its alg."
        )

    @property
    def names(self) -> list[str]:
        """Every canonical name and alias, as the classes state them."""
        algorithms = [entry.algorithm for entry in self]
        return [name for alg in algorithms for name in dict.fromkeys((alg.name, *alg.aliases))]

    @property
    def signing_names(self) -> list[str]:
        """The JOSE `alg` values of signatures and authentication codes, in order, each once."""
        made = [
            name
            for entry in self
            if isinstance(entry.algorithm, (Signer, Mac))
            for name in entry.algorithm.jws_algs
        ]
        return list(dict.fromkeys(made))

    def _add(self, entry: EntryPoint, origin: _Origin) -> None:
        algorithm = _load(entry, origin)
        for name in dict.fromkeys(map(_normalize, (algorithm.name, *algorithm.aliases))):
            if name in self._by_name:
                raise _clash(origin, self._stated_by[name], "has the name", repr(name))
            self._by_name[name], self._stated_by[name] = algorithm, origin
        self._by_own_name[algorithm.name] = algorithm
        self._registered.append(Registered(algorithm, origin.package))

    def _require_one_owner(self) -> None:
        """Raise PluginError if two algorithms own the same JWKs.

        `owns_jwk` is code, so every algorithm's is called with all types of JWKs that any states.
        """
        asked = {tuple(jwk.items()): jwk for entry in self for jwk in entry.jwk_types}
        for jwk in asked.values():
            owners = [entry.algorithm for entry in self if _owns(entry.algorithm, jwk)]
            if len(owners) > 1:
                one, other = (self._stated_by[_normalize(owner.name)] for owner in owners[:2])
                shown = ", ".join(
                    f"n of {len(value) * 6 // 8 * 8} bits" if name == "n" else f"{name} {value!r}"
                    for name, value in jwk.items()
                )
                raise _clash(one, other, "owns the JWKs", shown)


def _owns(algorithm: KeyAlgorithm[Any], jwk: Mapping[str, Any]) -> bool:
    """Tell whether an algorithm owns all JWKs of this type."""
    try:
        return algorithm.owns_jwk(jwk)
    except Exception:  # InvalidKey, or a bug, which the contract shows its author
        return False


def _clash(one: _Origin, other: _Origin, has: str, shared: str) -> PluginError:
    """The error of two algorithms that cannot be used together."""
    return PluginError(
        f"The {one} {has} {shared}, as does the {other}; to start with one of them: "
        f"{one.way_out} or {other.way_out}."
    )


def _left_in(entries: Iterable[EntryPoint], without: set[str]) -> list[EntryPoint]:
    """The entry points that `without` does not name; raises PluginError for an unknown name."""
    kept, known = [], set[str]()
    for origin, entry in _by_origin(entries):
        names = {origin.entry, f"{origin.package}:{origin.entry}"}
        known |= names
        if without.isdisjoint(names):
            kept.append(entry)
    if unknown := ", ".join(sorted(without - known)):
        raise PluginError(f"--without-algorithm: no installed package has {unknown}.")
    return kept


def _by_origin(entries: Iterable[EntryPoint]) -> Iterator[tuple[_Origin, EntryPoint]]:
    for entry in entries:
        yield _Origin(entry.name, package_of(entry)), entry


def _normalize(name: str) -> str:
    # Some letters outside ASCII have a lower case in ASCII: the Kelvin sign has k.
    if not name.isascii():
        return name
    return name.lower().replace("-", "").replace("_", "")


def _load(entry: EntryPoint, origin: _Origin) -> KeyAlgorithm[Any]:
    """Make an algorithm of its class; raises PluginError, which says how to start without it."""

    def refusal(fault: str) -> PluginError:
        return PluginError(f"The {origin} {fault}; to start without it: {origin.way_out}.")

    kind = load_class(entry, KeyAlgorithm, refusal, api_version=API_VERSION)
    try:
        algorithm = kind()
    except Exception as exc:
        raise refusal(f"cannot be made: {one_line(exc)}") from exc
    absent = [fact for fact in ("name", "kty") if not getattr(algorithm, fact, None)]
    # An empty one is allowed: JOSE has no name for some signatures.
    if isinstance(algorithm, Signer) and getattr(algorithm, "signing_algs", None) is None:
        absent.append("signing_algs")
    if absent:
        raise refusal(f"does not state: {', '.join(absent)}")
    # Without its comma, `("one",)` would be a name for each letter.
    lists = ("aliases", "jose_algs", "signing_algs")
    text = [fact for fact in lists if isinstance(getattr(algorithm, fact, ()), str)]
    if text:
        raise refusal(f"states a text instead of a tuple: {', '.join(text)}")
    if not _NAME.fullmatch(str(algorithm.name)):
        raise refusal("has a name that is not lower-case letters and digits")
    return algorithm
