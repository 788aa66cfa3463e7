"""Handlers of profiles: the tenants."""

from aiohttp import web

from minikms.web import schemas
from minikms.web.messages import answer, load, service

_CREATE = schemas.CreateProfile()
_CREATED = schemas.ProfileCreated()
_DELETED = schemas.ProfileDeleted()
_PROFILES = schemas.Profiles()


async def create(request: web.Request) -> web.Response:
    """Create a profile.

    ---
    tags: [profiles]
    x-body: CreateProfile
    x-problems: [profile-exists, store-unavailable]
    responses:
      "200": {description: The profile is there., x-answer: ProfileCreated}
    """
    name = (await load(request, _CREATE))["name"]
    await service(request).create_profile(name)
    return answer(_CREATED, {"name": name, "success": True})


async def list_profiles(request: web.Request) -> web.Response:
    """List the names of all profiles.

    ---
    tags: [profiles]
    x-problems: [store-unavailable]
    responses:
      "200": {description: The names., x-answer: Profiles}
    """
    return answer(_PROFILES, {"profiles": await service(request).profiles()})


async def delete(request: web.Request, name: str) -> web.Response:
    """Delete a profile with all its keys.

    ---
    tags: [profiles]
    parameters: [$ref: "#/components/parameters/ProfileName"]
    x-problems: [profile-protected, store-unavailable]
    responses:
      "200": {description: Whether there was one to delete., x-answer: ProfileDeleted}
    """
    return answer(_DELETED, {"success": await service(request).remove_profile(name)})
