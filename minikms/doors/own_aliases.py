"""The keys of the service for one door, without the aliases that belong to others."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

from minikms.doors.protocol import DoorService
from minikms.errors import ValidationFailed
from minikms.records import ALIAS_PATTERN, MAX_ALIAS, require_own_aliases

_ALIAS: Final = re.compile(ALIAS_PATTERN)

# The methods that give, move or remove aliases, and the aliases among their arguments.
_ALIASES: Final[Mapping[str, Callable[..., Iterable[str | None]]]] = {
    "generate": lambda profile, alg, policy: policy.aliases,
    "import_key": lambda profile, source, policy, **_: policy.aliases,
    "associate": lambda profile, kid, alias, binding="": [alias],
    "dissociate": lambda profile, kid, alias: [alias],
    "schedule_deletion": lambda profile, ref, after, **_: [ref.alias],
    "delete": lambda profile, ref, **_: [ref.alias],
    "rotate_name": lambda profile, name, check=None: [name],
    "change_versions": lambda profile, name, change, **_: [name],
    "delete_name": lambda profile, name, check, **_: [name],
}


# The other methods, each looked up at its call: `__getattr__` would take longer.
_Service: Any = type(
    "_Service",
    (),
    {
        name: property(attrgetter(f"_service.{name}"))
        for name in vars(DoorService)
        if not name.startswith("_") and name not in _ALIASES
    },
)


def with_own_aliases(service: DoorService, reserved: Iterable[str]) -> DoorService:
    """Return the service for a door: it refuses aliases that begin with prefixes of other doors.

    Its methods also raise ValidationFailed for an alias that has no form of one.
    """
    narrowed: Any = _Service()
    narrowed._service = service
    for name, aliases in _ALIASES.items():
        setattr(narrowed, name, _checked(getattr(service, name), aliases, tuple(reserved)))
    checked: DoorService = narrowed
    return checked


def _checked(
    method: Callable[..., Awaitable[Any]],
    aliases_of: Callable[..., Iterable[str | None]],
    reserved: tuple[str, ...],
) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        aliases = [alias for alias in aliases_of(*args, **kwargs) if alias is not None]
        if not all(len(alias) <= MAX_ALIAS and _ALIAS.match(alias) for alias in aliases):
            raise ValidationFailed(
                f"An alias has 1 to {MAX_ALIAS:,} characters, and no control characters."
            )
        require_own_aliases(aliases, reserved)
        return await method(*args, **kwargs)

    return call
