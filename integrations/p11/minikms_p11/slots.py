"""Slots: the views of the service's keys that programs see as tokens of PKCS#11."""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from minikms_p11.algorithms import ALGORITHMS, SHOWN_BY_DEFAULT, Algorithm
from minikms_p11.keys import Key

_LONGEST_LABEL: Final = 32  # bytes: CK_TOKEN_INFO


@dataclass(frozen=True)
class Slot:
    """A slot: its label, its profile of the service, and the keys that it shows."""

    label: str
    profile: str = "default"
    algorithms: frozenset[str] = SHOWN_BY_DEFAULT
    key_label: tuple[str, str] | None = None  # only keys with this label

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `LABEL[=PROFILE][,alg=p256+rsa2048][,label=NAME:VALUE]`; raises ValueError."""
        head, *filters = text.split(",")
        label, _, profile = head.partition("=")
        if not 1 <= len(label.encode()) <= _LONGEST_LABEL:
            raise ValueError(f"the label of a slot has 1 to {_LONGEST_LABEL} bytes, not {label!r}")
        slot = cls(label, profile or "default")
        given: dict[str, str] = {}
        for item in filters:
            name, _, value = item.partition("=")
            if name not in ("alg", "label") or name in given or not value:
                raise ValueError(f"{item!r} is not alg=NAME+NAME or label=NAME:VALUE")
            given[name] = value
        algorithms, key_label = slot.algorithms, slot.key_label
        if "alg" in given:
            algorithms = frozenset(map(_algorithm, given["alg"].split("+")))
        if "label" in given:
            name, colon, value = given["label"].partition(":")
            if not name or not colon:
                raise ValueError(f"{given['label']!r} is not NAME:VALUE")
            key_label = name, value
        return cls(slot.label, slot.profile, algorithms, key_label)

    def serial(self, url: str) -> str:
        """16 hexadecimal digits that name the service and the profile."""
        return hashlib.sha256(f"{url} {self.profile}".encode()).hexdigest()[:16]

    def shows(self, key: Key) -> bool:
        """If programs see this key."""
        if key.algorithm.name not in self.algorithms:
            return False
        if self.key_label is None:
            return True
        name, value = self.key_label
        return key.labels.get(name) == value

    def shown(self) -> list[Algorithm]:
        """The algorithms of keys that it shows."""
        return [ALGORITHMS[name] for name in sorted(self.algorithms)]


def _algorithm(text: str) -> str:
    name = text.lower().replace("-", "").replace("_", "")
    if name not in ALGORITHMS:
        raise ValueError(f"{text!r} is not one of {', '.join(ALGORITHMS)}")
    return name
