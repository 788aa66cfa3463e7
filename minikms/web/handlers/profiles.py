"""Handlers of profiles: the tenants."""

from minikms.http.answers import Answer
from minikms.http.gate import GatedCall
from minikms.profile_settings import NO_SETTINGS
from minikms.web.messages import load, paged, service
from minikms.web.parameters import DEFAULT_LIMIT
from minikms.web.schemas import profile_bodies as schemas

_CREATE = schemas.CreateProfile()
_CHANGE = schemas.ChangeProfile()
_CREATED = schemas.ProfileCreated()
_DELETED = schemas.ProfileDeleted()
_PROFILES = schemas.ProfileNames()
_PROFILE = schemas.Profile()


async def create(call: GatedCall) -> Answer:
    """Create a profile."""
    name = call.enter(load(call, _CREATE)["name"])
    await service(call).profiles.create(name, maker=call.caller.token)
    return _CREATED.encode({"name": name, "success": True})


async def list_profiles(
    call: GatedCall, limit: int = DEFAULT_LIMIT, after: str = "", include: str | None = None
) -> Answer:
    """List the caller's profiles by name, and the settings of profiles that have some, by page."""
    found, more = await service(call).profiles.page(call.caller.profiles, limit, after)
    names = list(found)
    query = [("limit", str(limit))]
    public, access = set[str](), dict[str, dict[str, str]]()
    if include is not None:
        public = await service(call).publications.published(names)
        access = {name: {"jwks": "public" if name in public else "private"} for name in names}
        query.append(("include", include))
    shown = {
        name: {**access.get(name, {}), **found[name].shown()}
        for name in names
        if name in public or found[name] != NO_SETTINGS
    }
    body = _PROFILES.encode({"profiles": names, "settings": shown})
    return paged(call, body, [*query, ("after", names[-1])]) if more else body


async def change(call: GatedCall, name: str) -> Answer:
    """Change the settings of a profile, and publish its JWK Set, or stop publishing it."""
    changes = load(call, _CHANGE)
    profile, jwks = call.enter(name), changes.pop("jwks", None)
    if jwks is not None and changes.get("frozen"):  # before it is frozen
        await service(call).publications.publish(profile, public=jwks == "public")
    settings = await service(call).profiles.change(profile, changes)
    if jwks is not None and not changes.get("frozen"):
        await service(call).publications.publish(profile, public=jwks == "public")
    elif jwks is None and await service(call).publications.publishes(profile):
        jwks = "public"
    return _PROFILE.encode({"name": name, "jwks": jwks or "private", **settings.shown()})


async def delete(call: GatedCall, name: str) -> Answer:
    """Delete a profile with all its keys."""
    removed = await service(call).operations.store.remove_profile(call.enter(name))
    return _DELETED.encode({"success": removed})
