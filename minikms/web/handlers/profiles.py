"""Handlers of profiles: the tenants."""

from aiohttp import web

from minikms.http.answers import Answer
from minikms.http.gate import caller, enter
from minikms.profile_settings import NO_SETTINGS
from minikms.web.messages import load, service
from minikms.web.schemas import profile_bodies as schemas

_CREATE = schemas.CreateProfile()
_CHANGE = schemas.ChangeProfile()
_CREATED = schemas.ProfileCreated()
_DELETED = schemas.ProfileDeleted()
_PROFILES = schemas.ProfileNames()
_PROFILE = schemas.Profile()


async def create(request: web.Request) -> Answer:
    """Create a profile."""
    name = enter(request, (await load(request, _CREATE))["name"])
    await service(request).create_profile(name, caller(request).token)
    return _CREATED.encode({"name": name, "success": True})


async def list_profiles(request: web.Request) -> Answer:
    """List the caller's profiles, and the settings of those that have some or are public."""
    covers = caller(request).covers
    found = await service(request).settings()
    names = [name for name in found if covers((name,))]
    public = await service(request).published(names)
    shown = {
        name: {"jwks": "public" if name in public else "private", **found[name].shown()}
        for name in names
        if name in public or found[name] != NO_SETTINGS
    }
    return _PROFILES.encode({"profiles": names, "settings": shown})


async def change(request: web.Request, name: str) -> Answer:
    """Change the settings of a profile, and publish its JWK Set, or stop publishing it."""
    changes = await load(request, _CHANGE)
    profile, jwks = enter(request, name), changes.pop("jwks", None)
    settings = await service(request).change_settings(profile, changes)
    if jwks is not None:
        await service(request).publish(profile, public=jwks == "public")
    elif await service(request).publishes(profile):
        jwks = "public"
    return _PROFILE.encode({"name": name, "jwks": jwks or "private", **settings.shown()})


async def delete(request: web.Request, name: str) -> Answer:
    """Delete a profile with all its keys."""
    removed = await service(request).remove_profile(enter(request, name))
    return _DELETED.encode({"success": removed})
