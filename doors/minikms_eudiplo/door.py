"""The EUDIPLO door: keys and signatures in the contract of EUDIPLO's `http` KMS provider."""

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from minikms.doors import (
    DEFAULT_PROFILE,
    OPEN,
    AlgorithmRegistry,
    Door,
    DoorAnswer,
    DoorCall,
    DoorRoute,
    ErrorAnswer,
    KeyPolicy,
    KeyRecord,
    KeyRef,
    KeySource,
    KmsError,
    MalformedJson,
    ValidationFailed,
    errors,
    jose_b64url,
    parse_json,
)

if TYPE_CHECKING:
    from aiohttp import web

# The JOSE names that EUDIPLO uses, and the algorithms here.
_ALGORITHMS: Final[Mapping[str, str]] = {"ES256": "p256"}
_BEARER: Final = "Bearer "
_KID: Final = re.compile(r"[^/]{1,256}")
_NO_CONTENT: Final = DoorAnswer(204, b"")


class EudiploDoor(Door):
    """Makes, imports, uses and deletes keys by a kid that the caller chooses: an alias here.

    A path may begin with the name of a profile: `/alice/keys`.
    """

    name = "eudiplo"
    title = "EUDIPLO's HTTP KMS"
    content_type = "application/json"

    def __init__(self, options: Mapping[str, str], registry: AlgorithmRegistry) -> None:
        super().__init__(options, registry)
        from minikms.doors.paths import PathRoutes

        table = (
            ("POST", "keys", DoorRoute("generate", "keys:write", _generate)),
            ("POST", "keys/{kid}/import", DoorRoute("import", "keys:write", _import)),
            ("POST", "keys/{kid}/sign", DoorRoute("sign", "sign", _sign)),
            ("DELETE", "keys/{kid}", DoorRoute("delete", "keys:delete", _delete)),
            ("GET", "health", DoorRoute("health", OPEN, _health)),
        )
        self._routes = tuple(route for _, _, route in table)
        self._paths = PathRoutes(table, _KID)

    @property
    def routes(self) -> Sequence[DoorRoute]:
        return self._routes

    def route_of(self, request: "web.Request") -> DoorRoute:
        # The door needs no header, so a browser sends any page's POST without a preflight request.
        if "Origin" in request.headers:
            raise errors.Forbidden(
                "A request with an Origin is refused: no web page may call here."
            )
        _, path = _split(request)
        return self._paths.find(request, request.method, path)

    def token(self, request: "web.Request") -> str:
        authorization = request.headers.get("Authorization", "")
        return authorization[len(_BEARER) :] if authorization.startswith(_BEARER) else ""

    def profile(self, request: "web.Request") -> str:
        return _split(request)[0]

    def answer(self, error: KmsError) -> ErrorAnswer:
        body = orjson.dumps({"error": error.slug, "message": error.detail})
        return ErrorAnswer(error.status, body, {**error.headers, "Content-Type": self.content_type})


def _split(request: "web.Request") -> tuple[str, str]:
    """Return the profile and the rest of the path."""
    path = request.rel_url.raw_path.removeprefix("/")
    first, _, rest = path.partition("/")
    return (DEFAULT_PROFILE, path) if first in ("keys", "health") else (first, rest)


async def _generate(call: DoorCall) -> bytes:
    body = _Body(call)
    kid = body.text("kid")
    if not _KID.fullmatch(kid):
        raise ValidationFailed("kid has 1 to 256 characters, and no slash.")
    policy = KeyPolicy(aliases=(kid,), alias_taken="refuse")
    return _public(await call.service.generate(call.profile, body.alg(), policy))


async def _import(call: DoorCall) -> bytes:
    body = _Body(call)
    source = KeySource(alg=body.alg(), jwk=body.members.get("privateJwk"))
    if not isinstance(source.jwk, dict):
        raise ValidationFailed("privateJwk is not a JWK.")
    if "d" not in source.jwk:
        raise ValidationFailed("privateJwk has no private member.")
    policy = KeyPolicy(aliases=(call.parameters["kid"],), alias_taken="refuse")
    return _public(await call.service.import_key(call.profile, source, policy))


async def _sign(call: DoorCall) -> bytes:
    # Imported here: `minikms serve --help` loads this module.
    from minikms.doors.operations import Sign, SignOptions

    body = _Body(call)
    body.alg()
    operation = Sign(body.data("data"), SignOptions(alg=body.text("alg")))
    signed = await call.service.perform(call.profile, _ref(call), operation)
    return orjson.dumps({"signature": jose_b64url(signed.sig)})


async def _delete(call: DoorCall) -> DoorAnswer:
    await call.service.delete(call.profile, _ref(call), may_delete=call.may_delete)
    return _NO_CONTENT


async def _health(call: DoorCall) -> bytes:
    await call.service.ping()
    return b'{"ok":true}'


class _Body:
    """The members of a JSON object."""

    def __init__(self, call: DoorCall) -> None:
        try:
            self.members: dict[str, Any] = parse_json(call.body)
        except orjson.JSONDecodeError:
            raise MalformedJson("The body is not valid JSON.") from None
        if not isinstance(self.members, dict):
            raise ValidationFailed("The body is not a JSON object.")

    def text(self, name: str) -> str:
        """Read a string."""
        value = self.members.get(name)
        if value is None:
            raise ValidationFailed(f"{name} is missing.")
        if not isinstance(value, str):
            raise ValidationFailed(f"{name} is not a string.")
        return value

    def data(self, name: str) -> bytes:
        """Read bytes in base64."""
        try:
            return binascii.a2b_base64(self.text(name), strict_mode=True)
        except ValueError:
            raise ValidationFailed(f"{name} is not base64.") from None

    def alg(self) -> str:
        """Read the JOSE name `alg`, and return the name of the algorithm."""
        if found := _ALGORITHMS.get(self.text("alg")):
            return found
        raise ValidationFailed(f"alg is not one of {', '.join(_ALGORITHMS)}.")


def _ref(call: DoorCall) -> KeyRef:
    return KeyRef(alias=call.parameters["kid"])


def _public(record: KeyRecord) -> bytes:
    return orjson.dumps({"publicJwk": record.jwk})
