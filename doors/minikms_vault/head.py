"""The head of a request in Vault's protocol."""

from typing import TYPE_CHECKING, Final

from minikms.doors import DEFAULT_PROFILE

if TYPE_CHECKING:
    from aiohttp import web

_BEARER: Final = "Bearer "
_ROOT: Final = "root"


def method_of(request: "web.Request") -> str:
    """Return the method: a PUT is a POST, and a GET with `list=true` is a LIST.

    A GET for help is a HELP, a method that no path has.
    """
    method: str = request.method
    if method == "PUT":
        return "POST"
    if method == "GET" and request.query_string:
        if request.query.get("help"):
            return "HELP"
        asked = request.query.get("list", "").lower()
        return "LIST" if asked in ("true", "1") else method
    return method


def token_of(request: "web.Request") -> str:
    """Return the caller's token, the first of several, or an empty string."""
    headers = request.headers
    token: str = headers.get("X-Vault-Token", "")
    if not token:
        authorization = headers.get("Authorization", "")
        if authorization.startswith(_BEARER):
            token = authorization[len(_BEARER) :]
    return token


def profile_of(request: "web.Request") -> str:
    """Return the profile that the namespace names."""
    given: str = request.headers.get("X-Vault-Namespace", "")
    if not given:
        return DEFAULT_PROFILE
    name = given.strip("/")
    return DEFAULT_PROFILE if name in ("", _ROOT) else name
