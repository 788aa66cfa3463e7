"""A door for people with curl: keys by a header, signatures in plain text."""

import base64
import re

from minikms.doors import (
    Door,
    DoorCall,
    DoorOption,
    DoorRoute,
    ErrorAnswer,
    KeyPolicy,
    KeyRef,
    KmsError,
    RouteNotFound,
    ValidationFailed,
)

_ALIAS = re.compile(r"[a-z0-9-]{1,64}")


class PlainDoor(Door):
    """`POST /keys` makes the key that the header `Key` names, `POST /sign` signs with it."""

    name, title, content_type = "plain", "plain text", "text/plain"
    request_id_header = "Call-Id"
    options = (DoorOption("alg", "Algorithm of keys that are made.", "ed25519"),)

    @property
    def routes(self):
        return list(self._by_path.values())

    def __init__(self, options, registry):
        super().__init__(options, registry)
        self._alg = options["alg"]
        self._by_path = {
            "/keys": DoorRoute("makeKey", "keys:write", self._make),
            "/sign": DoorRoute("sign", "sign", self._sign),
        }

    def route_of(self, request):
        route = self._by_path.get(request.path)
        if request.method != "POST" or route is None:
            raise RouteNotFound
        return route

    def token(self, request):
        return request.headers.get("Token", "")

    def profile(self, request):
        return request.headers.get("Room", "default")

    def answer(self, error: KmsError):
        text = f"{error.slug}: {error.detail}\n"
        headers = {**error.headers, "Content-Type": self.content_type}
        return ErrorAnswer(error.status, text.encode(), headers)

    async def _make(self, call: DoorCall):
        policy = KeyPolicy(aliases=(_alias(call),), alias_taken="refuse")
        record = await call.service.generate(call.profile, self._alg, policy)
        return f"{record.kid}\n".encode()

    async def _sign(self, call: DoorCall):
        return _text(await call.service.perform(call.profile, *_signing(call)))


def _signing(call: DoorCall):
    # Imported here, since the help of `minikms serve` loads this module.
    from minikms.doors.operations import Sign, SignOptions

    return KeyRef(alias=_alias(call)), Sign(call.body, SignOptions())


def _text(signed):
    return base64.b64encode(signed.sig) + b"\n"


def _alias(call: DoorCall):
    alias = call.request.headers.get("Key", "")
    if not _ALIAS.fullmatch(alias):
        raise ValidationFailed("The header Key takes lower-case letters, digits and hyphens.")
    return alias
