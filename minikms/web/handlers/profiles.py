"""Handlers of profiles: the tenants."""

from aiohttp import web

from minikms.http.answers import Answer
from minikms.http.gate import caller, enter
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
    await service(request).create_profile(name)
    return _CREATED.encode({"name": name, "success": True})


async def list_profiles(request: web.Request) -> Answer:
    """List the names of the caller's profiles."""
    covers = caller(request).covers
    names = [name for name in await service(request).profiles() if covers((name,))]
    return _PROFILES.encode({"profiles": names})


async def change(request: web.Request, name: str) -> Answer:
    """Publish a profile's JWK Set, or stop publishing it."""
    jwks = (await load(request, _CHANGE))["jwks"]
    await service(request).publish(enter(request, name), public=jwks == "public")
    return _PROFILE.encode({"name": name, "jwks": jwks})


async def delete(request: web.Request, name: str) -> Answer:
    """Delete a profile with all its keys."""
    removed = await service(request).remove_profile(enter(request, name))
    return _DELETED.encode({"success": removed})
