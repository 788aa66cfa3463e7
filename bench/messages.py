"""The steps of opening a message, without HTTP, in microseconds of processor time.

Run it with the Python that Mini KMS is installed in: `python bench/messages.py`. Each figure is the
best of some rounds of many calls. Each row is measured alone, so the processor has more of it in
its caches than in a service. The operation on a DIDComm message knows its sender already.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson
from pieces import microseconds

from minikms.encodings import b58, jose_b64url
from minikms.keys.didcomm import PackFrom, Unpack, Verkey
from minikms.keys.jose.jwe_decryption import DecryptJwe
from minikms.keys.jose.jwe_encryption import EncryptJwe, JweRecipient
from minikms.keys.jose.jwe_forms import parse
from minikms.keys.operation import UsableKey
from minikms.plugin import SignatureOptions
from minikms.plugin.registry import AlgorithmRegistry
from minikms.web.schemas.didcomm_bodies import UnpackRequest
from minikms.web.schemas.jwe_bodies import DecryptJweRequest

MESSAGE: Final = bytes(100)
ALL: Final = "the operation"

Steps = dict[str, Callable[[], object]]


def steps_of_jwe(algorithm: Any) -> Steps:
    """Steps of a compact JWE by ECDH-ES+A256KW and A256GCM."""
    key = algorithm.generate()
    use = UsableKey(algorithm, DecryptJwe.uses[0], "kid", material=key)
    to = JweRecipient(algorithm.public_jwk(key), "ECDH-ES+A256KW", {})
    jwe = EncryptJwe(MESSAGE, "A256GCM", [to], None, {}, b"", None).compute([use], None)
    body, operation = orjson.dumps({"kid": "kid", "jwe": jwe}), DecryptJwe(jwe, None)
    assert operation.compute(use).plaintext == MESSAGE
    epk = parse(jwe).recipients[0].header["epk"]
    peer, schema = algorithm.load_peer(epk), DecryptJweRequest()
    return {
        "body read": lambda: schema.parse(orjson.loads(body)),
        "header read": lambda: parse(jwe),
        "public key checked": lambda: algorithm.load_peer(epk),
        "key agreement": lambda: algorithm.derive(key, peer),
        ALL: lambda: operation.compute(use),
    }


def steps_of_didcomm(ed25519: Any) -> Steps:
    """Steps of an Authcrypt message to an Ed25519 key."""
    key, theirs = ed25519.generate(), ed25519.generate()
    verkeys = [Verkey.parse(b58(ed25519.public_bytes(each))) for each in (key, theirs)]
    sender = UsableKey(ed25519, PackFrom.uses[0], verkeys[1].kid, material=theirs)
    envelope = PackFrom(verkeys[:1], MESSAGE).compute(sender)
    parts = [envelope.protected, *map(jose_b64url, envelope[1:])]
    packed = dict(zip(envelope._fields, parts, strict=True))
    schema, body = UnpackRequest(), orjson.dumps({"packed": packed})
    operation = Unpack(schema.parse(orjson.loads(body))["packed"])
    use = UsableKey(ed25519, Unpack.uses[0], verkeys[0].kid, material=key)
    assert operation.compute(use).message == MESSAGE
    recipient = operation.packed.protected.recipients[use.kid]
    peer = ed25519.load_box_peer(verkeys[1].jwk)
    return {
        "body read": lambda: schema.parse(orjson.loads(body)),
        "sender unsealed": lambda: ed25519.open_sealed(key, recipient.sender),
        "public key checked": lambda: ed25519.load_box_peer(verkeys[1].jwk),
        "key agreement": lambda: ed25519.box(key, peer, b""),
        ALL: lambda: operation.compute(use),
    }


def main() -> None:
    """Measure, and print a row for each step."""
    registry = AlgorithmRegistry.from_installed()
    ed25519, x25519, p256 = map(registry.get, ("ed25519", "x25519", "p256"))
    signing: Any = ed25519
    key = signing.generate()
    options = SignatureOptions(signing.signing_algs[0])
    columns: dict[str, Steps] = {
        "JWE, X25519": steps_of_jwe(x25519),
        "JWE, P-256": steps_of_jwe(p256),
        "DIDComm v1": steps_of_didcomm(ed25519),
        "Ed25519 signature": {ALL: lambda: signing.sign(key, MESSAGE, options)},
    }
    print(" " * 20, *(f"{name:>18}" for name in columns))
    for row in dict.fromkeys(name for steps in columns.values() for name in steps):
        cells = (f"{microseconds(s[row]):.1f}" if row in s else "" for s in columns.values())
        print(f"{row:20}", *(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
