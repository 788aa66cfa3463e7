"""A call of Vault's API, as the tables of this package list them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

HELLO = "aGVsbG8="  # hello
BYE = "Ynll"  # bye


@dataclass(frozen=True)
class Call:
    """A call, whose answers by OpenBao and by the door agree.

    They have the same status, the same members and kinds of values, and the same values, except for
    members that are random (`vault_calls.compare`).
    """

    method: str
    path: str  # below /v1/
    body: Any = None  # bytes are sent as they are
    # Parts of the answer, by a name for later calls: `{name}` in their paths and bodies.
    keep: Mapping[str, str] = field(default_factory=dict)
    # A regular expression, which the error of both matches.
    says: str = ""
    # Members that may differ, as paths such as `data.keys.*`, and the reason.
    differs: Mapping[str, str] = field(default_factory=dict)
    # The door's own status, and the reason; then only this is compared.
    ours: tuple[int, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def filled(self, kept: Mapping[str, Any]) -> "Call":
        """Put kept values into path and body."""
        return replace(self, path=_filled(self.path, kept), body=_filled(self.body, kept))


def _filled(value: Any, kept: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        for name, text in kept.items():
            value = value.replace(f"{{{name}}}", str(text))
        return value
    if isinstance(value, dict):
        return {name: _filled(each, kept) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, kept) for each in value]
    return value


def get(path: str, **options: Any) -> Call:
    """A GET of Transit."""
    return Call("GET", f"transit/{path}", **options)


def listing(path: str, **options: Any) -> Call:
    """A LIST of Transit."""
    return Call("LIST", f"transit/{path}", **options)


def delete(path: str, **options: Any) -> Call:
    """A DELETE of Transit."""
    return Call("DELETE", f"transit/{path}", **options)


def post(path: str, body: Any = None, **options: Any) -> Call:
    """A POST to Transit."""
    return Call("POST", f"transit/{path}", {} if body is None else body, **options)
