"""From a name to an algorithm; the only reader of entry points."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Self

from minikms.errors import InvalidKey, PluginError, UnsupportedAlgorithm
from minikms.protocol import KeyAlgorithm, Mac, Signer

GROUP: Final = "minikms.algorithms"

_NAME = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True, slots=True)
class Registered:
    """An algorithm and the name of the package whose entry point it is."""

    algorithm: KeyAlgorithm
    source: str

    @property
    def jose_algs(self) -> tuple[str, ...]:
        """Every JOSE name it has a use for, those it signs for first."""
        algorithm = self.algorithm
        signing = algorithm.signing_algs if isinstance(algorithm, Signer) else ()
        return (*signing, *algorithm.jose_algs)


class AlgorithmRegistry:
    """The algorithms of one service, found by name or alias.

    Names match without case, hyphens and underscores: `P-256` is `p256`.
    """

    def __init__(self, entries: Iterable[EntryPoint]) -> None:
        """Load `entries`; raises PluginError, which names the one that cannot be used."""
        self._registered: list[Registered] = []
        self._by_name: dict[str, KeyAlgorithm] = {}
        self._stated_by: dict[str, str] = {}
        entries = list(entries)
        # Once for each package: to give its name, a distribution parses all of its metadata.
        dists = {entry.dist for entry in entries}
        sources = {dist: dist.name if dist else "unknown" for dist in dists}
        for entry in sorted(entries, key=lambda entry: (entry.name, sources[entry.dist])):
            self._add(entry, sources[entry.dist])

    @classmethod
    def from_installed(cls) -> Self:
        """The registry of every installed package's entry points."""
        return cls(entry_points(group=GROUP))

    def __iter__(self) -> Iterator[Registered]:
        return iter(self._registered)

    def get(self, name: str) -> KeyAlgorithm:
        """The algorithm of this name or alias; raises UnsupportedAlgorithm."""
        algorithm = self._by_name.get(name) or self._by_name.get(_normalize(name))
        if algorithm is None:
            known = ", ".join(entry.algorithm.name for entry in self)
            raise UnsupportedAlgorithm(f"There is no such algorithm; known are: {known}.")
        return algorithm

    def for_jwk(self, jwk: Mapping[str, Any]) -> KeyAlgorithm:
        """The algorithm that a JWK is meant for; raises InvalidKey where there is none."""
        for entry in self:
            if entry.algorithm.owns_jwk(jwk):
                return entry.algorithm
        raise InvalidKey(
            "No algorithm here has keys of this kty, crv, alg or size; "
            "an oct JWK tells its algorithm by its alg."
        )

    @property
    def names(self) -> list[str]:
        """Every canonical name and alias, as their classes write them."""
        algorithms = [entry.algorithm for entry in self]
        return [name for alg in algorithms for name in dict.fromkeys((alg.name, *alg.aliases))]

    @property
    def signing_names(self) -> list[str]:
        """Every JOSE name that some key signs for, or authenticates for, in order."""
        made = [
            name
            for entry in self
            if isinstance(entry.algorithm, (Signer, Mac))
            for name in entry.algorithm.jws_algs
        ]
        return list(dict.fromkeys(made))

    def _add(self, entry: EntryPoint, source: str) -> None:
        what = f"entry point {entry.name!r} of the package {source!r}"
        algorithm = _load(entry, f"The {what}")
        for name in dict.fromkeys(map(_normalize, (algorithm.name, *algorithm.aliases))):
            if name in self._by_name:
                other = self._stated_by[name]
                raise PluginError(f"The {what} has the name {name!r}, as has the {other}.")
            self._by_name[name], self._stated_by[name] = algorithm, what
        self._registered.append(Registered(algorithm, source))


def _normalize(name: str) -> str:
    # Unicode has letters whose lower case is one of ASCII's: K is the Kelvin sign's.
    if not name.isascii():
        return name
    return name.lower().replace("-", "").replace("_", "")


def _load(entry: EntryPoint, where: str) -> KeyAlgorithm:
    try:
        loaded = entry.load()
    except Exception as exc:
        # Whatever a stranger's module raises, the start stops; the cause is kept for a debugger.
        raise PluginError(f"{where} cannot be imported: {_one_line(exc)}.") from exc
    if not (isinstance(loaded, type) and issubclass(loaded, KeyAlgorithm)):
        raise PluginError(f"{where} is not a subclass of KeyAlgorithm.")
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise PluginError(f"{where} lacks: {missing}.")
    try:
        algorithm = loaded()
    except Exception as exc:
        raise PluginError(f"{where} cannot be made: {_one_line(exc)}.") from exc
    facts = ("name", "kty", "signing_algs") if isinstance(algorithm, Signer) else ("name", "kty")
    absent = [fact for fact in facts if not getattr(algorithm, fact, None)]
    if absent:
        raise PluginError(f"{where} does not state: {', '.join(absent)}.")
    # A comma left out of `("one",)` would make a name of each letter.
    lists = ("aliases", "jose_algs", "signing_algs")
    text = [fact for fact in lists if isinstance(getattr(algorithm, fact, ()), str)]
    if text:
        raise PluginError(f"{where} states one text where it takes a tuple: {', '.join(text)}.")
    if not _NAME.fullmatch(str(algorithm.name)):
        raise PluginError(f"{where} has a name that is not lower-case letters and digits.")
    return algorithm


def _one_line(exc: Exception) -> str:
    return " ".join(f"{type(exc).__name__}: {exc}".split()).rstrip(".: ")
