"""Requests that work as they stand on a new service, once those that import keys have been sent.

The keys are published ones: RFC 8037 appendix A.1, RFC 7748 section 6.1, and counting bytes.
"""

from collections.abc import Mapping
from typing import Any, Final

KID: Final = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
ALIAS: Final = "did:example:123#key-1"
PROFILE: Final = "alice"
HOLDER: Final = "8c1f0a5d92b3e467"

_COUNTING = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
_HELLO = "aGVsbG8="
_ED25519 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
_X25519 = {"kty": "OKP", "crv": "X25519", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}
_BOB = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
_SIG = "URykl8TUJwsJixr9WuTjuVGl2iydpunAUo9XYYg2duffbkwPDhtaCkRE9CmLGILdgi-xEzy9Sav7mWyHzVuFBg=="
# RFC 8037 appendix A.4.
_JWS = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


EXAMPLES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "ImportKey": {
        "a private JWK": {
            "jwk": {**_ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
            "alias": ALIAS,
            "exportable": True,
        },
        "for key agreement": {
            "jwk": {**_X25519, "d": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo"},
            "alias": "example agreement",
        },
        "for encryption": {"alg": "a256gcm", "secret": _COUNTING, "alias": "example encryption"},
        "to wrap keys": {"alg": "a256kw", "secret": _COUNTING, "alias": "example wrapping"},
        "for authentication": {"alg": "hs256", "secret": _COUNTING, "alias": "example mac"},
    },
    "GenerateKey": {
        "a signing key": {"alg": "ed25519", "alias": ALIAS},
        "with a policy": {
            "alg": "p256",
            "alias": "did:example:123#key-2",
            "labels": {"purpose": "assertion"},
            "operations": ["sign"],
        },
    },
    "UpdateKey": {
        "two labels": {"labels": {"purpose": "assertion", "stage": "test"}},
        "out of use": {"state": "disabled"},
        "in use until then": {"state": "enabled", "expires": "2099-12-31T23:59:59+01:00"},
    },
    "AssociateAlias": {"a DID URL": {"alias": ALIAS}},
    "SignRequest": {"a message": {"alias": ALIAS, "data": _HELLO}},
    "VerifyRequest": {
        "by a public JWK": {"jwk": _ED25519, "data": _HELLO, "sig": _SIG},
        "by an alias": {"alias": ALIAS, "data": _HELLO, "sig": _SIG},
    },
    "BatchSignRequest": {
        "two messages": {"alias": ALIAS, "items": [{"data": _HELLO}, {"data": ""}]}
    },
    "BatchVerifyRequest": {
        "one message": {"alias": ALIAS, "items": [{"data": _HELLO, "sig": _SIG}]}
    },
    "EncryptRequest": {"by the imported key": {"alias": "example encryption", "plaintext": _HELLO}},
    "DecryptRequest": {
        "by the imported key": {
            "alias": "example encryption",
            "ciphertext": "8aRw3-4=",
            "nonce": "e-IsZN2WqlOiJGs5",
            "tag": "OGpNanMrynMuKqQLLubaiA==",
        }
    },
    "WrapRequest": {
        "by the imported key": {"alias": "example wrapping", "key": "AAECAwQFBgcICQoLDA0ODw=="}
    },
    "UnwrapRequest": {
        "by the imported key": {
            "alias": "example wrapping",
            "wrapped": "jMS_7Kip8vOMiyg5Lx6PSz5aX9LyC9aI",
        }
    },
    "DeriveRequest": {"by the imported key": {"alias": "example agreement", "peer": _BOB}},
    "MacRequest": {"by the imported key": {"alias": "example mac", "data": _HELLO}},
    "VerifyMacRequest": {
        "by the imported key": {
            "alias": "example mac",
            "data": _HELLO,
            "mac": "U8QCcqcMFcpO4K9N8fFV_WxB4AziMH2Jh-zUuzan6ZA=",
        }
    },
    "SignJwsRequest": {
        "a payload": {"alias": ALIAS, "payload": _HELLO},
        "detached": {"alias": ALIAS, "payload": _HELLO, "detached": True},
    },
    "VerifyJwsRequest": {"RFC 8037 appendix A.4": {"jwk": _ED25519, "jws": _JWS}},
    "RandomRequest": {"a secret": {"length": 32}},
    "CreateProfile": {"a tenant": {"name": PROFILE}},
    "ChangeProfile": {"publish its keys": {"jwks": "public"}},
    "CreateToken": {
        "a signer": {
            "name": "issuer",
            "scopes": ["sign", "keys:read"],
            "profiles": ["default"],
            "expires": "2036-01-31T12:00:00Z",
        }
    },
}

ANSWERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Key": {
        "kid": KID,
        "alg": "ed25519",
        "kty": "OKP",
        "jwk": _ED25519,
        "b58": "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
        "multikey": "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
        "did": "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
        "aliases": [ALIAS],
        "labels": {"purpose": "assertion"},
        "operations": ["sign", "verify"],
        "exportable": False,
        "state": "enabled",
        "created": "2026-01-31T12:00:00.000Z",
        "expires": None,
        "deletes": None,
    }
}
