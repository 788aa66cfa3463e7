"""Examples of requests, in the order of the page, and of their answers.

Each works when it is sent. The keys are published: RFC 8037 appendix A.1, RFC 8032 section 7.1
(TESTs 2 and 3), RFC 7748 section 6.1, RFC 7515 appendix A.2, and counting bytes.

It is over 300 lines, since it has an example of each request, in one order.
"""

from collections.abc import Mapping
from typing import Any, Final

from minikms.access.policy import SCOPES
from minikms.web.schemas import example_mlkem

KID: Final = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
ALIAS: Final = "did:example:123#key-1"
SECOND_ALIAS: Final = "did:example:123#assertion"
OLD_ALIAS: Final = "did:example:123#old"
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
_HPKE = {
    "enc": "71yRV5v20rk_FduRePjRANZvz0urXbtwbCseJ9z7Gyw=",
    "ciphertext": "RxKE6ogFicWEF8unuInaBesN-i0S",
}
_AGREED = "Sl2dW6TOLeFyjjv0gDUPJeB-IclH0Z4zdvCbPB4WF0I="
_SIG = "URykl8TUJwsJixr9WuTjuVGl2iydpunAUo9XYYg2duffbkwPDhtaCkRE9CmLGILdgi-xEzy9Sav7mWyHzVuFBg=="
_MESSAGE = "r4I="
_TEST_3 = "YpHWV97sJAJIJ-acOr4BowzlSKKEdDpEXjaA19taw6wY_5tTjRbykK5n92CYTcZZSnwV6XFu0o3AJ77O6h7ECg=="
# RFC 8037 appendix A.4.
_JWS = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

# RFC 9052 appendix C.2.1.
_COSE_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "usWxHK2PmfnHKwXPS54m0kTcGJ90UiglWiGahtagnv8",
    "y": "IBOL-C3BttVivg-lSreASjpkttcsz-1rb7btKLv8EX4",
}
_COSE = (
    "0oRDoQEmoQRCMTFUVGhpcyBpcyB0aGUgY29udGVudC5YQI6zPkyjHRxGWrBarDTMayPVj-9cCDEGxNJaka7wsBF-"
    "Kvmikaoy4Uq4NNxW7SoiNERUfgHxHTsJFuWkw0XKyzY="
)
_COSE_MADE = (
    "0oRDoQEnoQRYK3B6WFU1UEYzUkR2RHBick1NUlFPeE5GYUVnM1JPOWtHbFFFaTJMNjlWSDRFaGVsbG9YQJnBJwDo"
    "EMRLKSOO-wVyCMlvMq2HV0-ntHdzLzyNQNxRr8U7Qp3i2ymaSmtGBY3m8iJM3BoeiQ7nihmYlltg9Qc="
)

_MLKEM768 = {"kty": "AKP", "alg": "ML-KEM-768", "pub": example_mlkem.PUBLIC}
# RFC 7515 appendix A.2.
_RSA = {
    "kty": "RSA",
    "n": (
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-"
        "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"
        "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-"
        "bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
        "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-"
        "DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    ),
    "e": "AQAB",
}
# The key of RFC 8032 section 7.1 (TEST 2) in base58, its kid, and a message from it to itself.
_VERKEY = "586Z7H2vpX9qNhN2T4e9Utugie3ogjbxzGaMtM3E6HR5"
_WALLET = "FtIu-VbGrfe_KB6CH7GNwODB72MNxj_ml11dEvO-7kk"
_PROTECTED = (
    "eyJlbmMiOiJ4Y2hhY2hhMjBwb2x5MTMwNV9pZXRmIiwidHlwIjoiSldNLzEuMCIsImFsZyI6IkF1dGhjcnlwdCIsIn"
    "JlY2lwaWVudHMiOlt7ImVuY3J5cHRlZF9rZXkiOiJWZFNMc3B4a2dpcjBPdzdncmlUTzVMem5rOGZJaG5hLXRJZlZp"
    "endwaEhwRE5peTk5NFc4M1FjTlphSllMZmFUIiwiaGVhZGVyIjp7ImtpZCI6IjU4Nlo3SDJ2cFg5cU5oTjJUNGU5VX"
    "R1Z2llM29namJ4ekdhTXRNM0U2SFI1Iiwic2VuZGVyIjoiWThiZ2R6ZHp5amFWZXR2YkNtTWU1Y01nd0lkRUtyMlpv"
    "VzB2ckswVkREckVPMTdsbkNLcFVrY1d5bFpjNi10bHdzdW9xM3V5WlJ3TUxZdWhsdjVoa0w3bllvOTNFZWdLa0FQbX"
    "BWTktES3Q4SGpBZTFyN28xQVhTUTB3IiwiaXYiOiJKWHo0aWhJWVl4LThUR0FqTUhYbm9rUTZwODdWZGdmZiJ9fV19"
)
_PACKED = {
    "protected": _PROTECTED,
    "iv": "I0bKtH06IamlbN4H",
    "ciphertext": "Qa-hL0s",
    "tag": "Uw_hdlaHisK1sbcxxPLLXg",
}

_JWE = (
    "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiWDI1NTE5IiwieCI6"
    "Ii1VcWxNYmlnUkxxSnVBSG1VVmdqZ3B0X3hxMTh3dVB6dlVxeHZacTc2SGMiLCJrdHkiOiJPS1AifX0.Y5nHkzJ1"
    "XtuqAzngQ5IMTusLYdzh-hsjDbC5og8I8AtSpLjQ3vHVSw.udGXjeTiOwBrUd9W.D-pjBa8.4j9AZU5KDAdxJ1US"
    "g4IGlQ"
)
_JWE_MADE = (
    "eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiWDI1NTE5IiwieCI6"
    "InNFS0xIalE5TWJuZWhwM0xNay1XVTg1ck41T0NseTMzNEJTRlIwMkJUeEEiLCJrdHkiOiJPS1AifX0.7g9iCWap"
    "mm_rDf3VNT7WoUQdKMq5k_ytxaGu0uGZnpzBdwAKBDlKXA.hvtENAmXJ7bJtA-g.EPZt7BU.Wcb-XlHlOMUoyHlW"
    "TZhgzA"
)
_JWE_HEADER = {
    "alg": "ECDH-ES+A256KW",
    "enc": "A256GCM",
    "epk": {"crv": "X25519", "x": "-UqlMbigRLqJuAHmUVgjgpt_xq18wuPzvUqxvZq76Hc", "kty": "OKP"},
}

# A self-signed certificate of the key of RFC 8037 appendix A.1, in DER as base64.
_CERTIFICATE = (
    "MIIBGzCBzqADAgECAhAfLj1MW2p5iBEiM0RVZneIMAUGAytlcDAWMRQwEgYDVQQDDAtleGFtcGxlLmNvbTAeFw0yNjAx"
    "MzExMjAwMDBaFw0zNjAxMzExMjAwMDBaMBYxFDASBgNVBAMMC2V4YW1wbGUuY29tMCowBQYDK2VwAyEA11qYAYKxCrfV"
    "S/7TyWQHOg7hcvPapiMlrwIaaPcHURqjMjAwMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFFsnqlWJF5dw5HV1sWKh"
    "3tl7i/xtMAUGAytlcANBAEa1ld7DEbblC70WINchrifnrirXPaTfXOSC+wMOaHaAj9dYcsXH89D2M7jPJVyKH7jt8Xsx"
    "4s0osUBm8gIxLAY="
)
_THUMBPRINT = "wk87lxWqB5vIXbjwWHbQDBrJJHf4aCPtihWCfJ-qjQM"

# A certificate request of the key of RFC 8032 section 7.1 (TEST 2).
_CSR = (
    "MIHkMIGXAgEAMDgxCzAJBgNVBAYTAkRFMRAwDgYDVQQKDAdFeGFtcGxlMRcwFQYDVQQDDA5pc3N1ZXIuZXhhbXBsZTAq"
    "MAUGAytlcAMhAPxRzY5iGKGjjaR+0AIw8FgIFu0TujMDrF3rkRVIkIAloCwwKgYJKoZIhvcNAQkOMR0wGzAZBgNVHREE"
    "EjAQgg5pc3N1ZXIuZXhhbXBsZTAFBgMrZXADQQAHkd0m9TBst9TuvMc9fZcAmBDC/hERSQM1MXXO88F5fA8m7uTHaYqx"
    "51MGRgWBt4/Qk/VqtBcYMkjCiOo9DEMO"
)

# A self-signed certificate of the same key, as the service makes it.
_ISSUED = (
    "MIIBlTCCAUegAwIBAgIUOh8uPUxbanmIESIzRFVmd4iZqrswBQYDK2VwMDgxCzAJBgNVBAYTAkRFMRAwDgYDVQQKDAdF"
    "eGFtcGxlMRcwFQYDVQQDDA5pc3N1ZXIuZXhhbXBsZTAeFw0yNjAxMzExMjAwMDBaFw0yNzAxMzExMjAwMDBaMDgxCzAJ"
    "BgNVBAYTAkRFMRAwDgYDVQQKDAdFeGFtcGxlMRcwFQYDVQQDDA5pc3N1ZXIuZXhhbXBsZTAqMAUGAytlcAMhAPxRzY5i"
    "GKGjjaR+0AIw8FgIFu0TujMDrF3rkRVIkIAlo2MwYTAdBgNVHQ4EFgQUiMdkyL5EN0p9L12Ech+OMl5b1kwwHwYDVR0j"
    "BBgwFoAUiMdkyL5EN0p9L12Ech+OMl5b1kwwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAYYwBQYDK2VwA0EA"
    "FmACJtraoRFs5w0tyeAC2vDYXdaHuMyIWd3lxZa838I5RU+KbGwW2V+zF+KaYOkXl95t/WNLDpTcwQ6sLeOXDw=="
)


def _pem(label: str, text: str) -> str:
    """A certificate, or what `label` says, in PEM (RFC 7468 section 2)."""
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


EXAMPLES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "ImportKey": {
        "a private JWK": {
            "jwk": {**_ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
            "alias": ALIAS,
            "exportable": True,
        },
        "for signatures": {
            "jwk": {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "_FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU",
                "d": "xaqN9D-fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc",
            },
            "alias": "example signing",
        },
        "for key agreement": {
            "jwk": {**_X25519, "d": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo"},
            "alias": "example agreement",
        },
        "for DIDComm v1": {
            "jwk": {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
                "d": "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs",
            },
            "operations": ["sign", "verify", "box", "box-open"],
            "alias": "example wallet",
        },
        "for encryption": {"alg": "a256gcm", "secret": _COUNTING, "alias": "example encryption"},
        "to wrap keys": {"alg": "a256kw", "secret": _COUNTING, "alias": "example wrapping"},
        "for encapsulation": {
            "alg": "mlkem768",
            "seed": example_mlkem.SEED,
            "alias": "example encapsulation",
        },
        "for authentication": {"alg": "hs256", "secret": _COUNTING, "alias": "example mac"},
        "to delete": {"alg": "a256kw", "secret": _COUNTING, "alias": OLD_ALIAS},
        "the first again": {
            "jwk": {**_ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
            "alias": ALIAS,
            "exportable": True,
            "if_exists": "keep",
        },
    },
    "GenerateKey": {
        "a signing key": {"alg": "ed25519", "alias": ALIAS},
        "with a policy": {
            "alg": "p256",
            "alias": "did:example:123#key-2",
            "labels": {"purpose": "assertion"},
            "operations": ["sign"],
        },
        "for SD-JWT VCs alone": {"alg": "p256", "rules": "sd-jwt-vc"},
    },
    "GenerateKeys": {"two keys": {"alg": "ed25519", "count": 2}},
    "UpdateKey": {
        "two labels": {"labels": {"purpose": "assertion", "stage": "test"}},
        "out of use": {"state": "disabled"},
        "in use until then": {"state": "enabled", "expires": "2099-12-31T23:59:59+01:00"},
        "a rotation every 90 days": {"rotate_every": 90 * 86_400},
        "no rotation": {"rotate_every": None},
    },
    "SetCertificates": {"a self-signed one": {"certificates": [_pem("CERTIFICATE", _CERTIFICATE)]}},
    "AssociateAlias": {
        "a DID URL": {"alias": SECOND_ALIAS},
        "only if it is free": {"alias": "did:example:123#free", "alias_taken": "refuse"},
    },
    "SignRequest": {"a message": {"alias": ALIAS, "data": _HELLO}},
    "VerifyRequest": {
        "by a public JWK": {"jwk": _ED25519, "data": _HELLO, "sig": _SIG},
        "by the imported key": {"alias": "example signing", "data": _MESSAGE, "sig": _TEST_3},
    },
    "BatchSignRequest": {
        "two messages": {"alias": ALIAS, "items": [{"data": _HELLO}, {"data": ""}]}
    },
    "BatchVerifyRequest": {
        "one message": {
            "alias": "example signing",
            "items": [{"data": _MESSAGE, "sig": _TEST_3}],
        }
    },
    "EncryptRequest": {
        "by the imported key": {"alias": "example encryption", "plaintext": _HELLO},
        "to a public JWK": {"jwk": _RSA, "plaintext": _HELLO},
    },
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
    "BoxRequest": {
        "by the imported key": {"alias": "example agreement", "to": _BOB, "plaintext": _HELLO}
    },
    "OpenBoxRequest": {
        "by the imported key": {
            "alias": "example agreement",
            "from": _BOB,
            "ciphertext": "ui4eVrllZs4d1HDQJiCksW0rPMl0",
            "nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        }
    },
    "SealBoxRequest": {"to anybody": {"to": _BOB, "plaintext": _HELLO}},
    "OpenSealedBoxRequest": {
        "by the imported key": {
            "alias": "example agreement",
            "ciphertext": "QqFg3OxtUadJ67ruIAgrKAlh30FNYMjj-Pom8u1hNUhb2w5_NTj4d1JNGCjq_IdugXLY"
            "b60=",
        }
    },
    "PackRequest": {
        "from a key": {"to": [_VERKEY], "from": "example wallet", "message": _HELLO},
        "without a sender": {"to": [_VERKEY], "message": _HELLO},
    },
    "UnpackRequest": {"for the imported key": {"packed": _PACKED}},
    "EncapsulateRequest": {"to ML-KEM-768": {"to": _MLKEM768}},
    "DecapsulateRequest": {
        "by the imported key": {
            "alias": "example encapsulation",
            "ciphertext": example_mlkem.CIPHERTEXT,
        }
    },
    "SealHpkeRequest": {
        "to X25519": {"to": _BOB, "plaintext": _HELLO},
        "to ML-KEM-768": {"to": _MLKEM768, "plaintext": _HELLO, "aead": "AES-256-GCM"},
    },
    "OpenHpkeRequest": {"by the imported key": {"alias": "example agreement", **_HPKE}},
    "SignJwsRequest": {
        "a payload": {"alias": ALIAS, "payload": _HELLO},
        "detached": {"alias": ALIAS, "payload": _HELLO, "detached": True},
        "to outlast a rotation": {"alias": ALIAS, "payload": _HELLO, "kid_header": "kid"},
        "flattened": {"alias": ALIAS, "payload": _HELLO, "serialization": "flattened"},
    },
    "VerifyJwsRequest": {"RFC 8037 appendix A.4": {"jwk": _ED25519, "jws": _JWS}},
    "AttestKeysRequest": {
        "a key of a wallet": {
            "alias": ALIAS,
            "keys": ["example agreement"],
            "nonce": "tZignsnFbp",
            "audience": "https://issuer.example",
            "key_storage": ["iso_18045_basic"],
            "allow_imported": True,  # as the examples import it
        }
    },
    "SignCoseRequest": {
        "a payload": {"alias": ALIAS, "payload": _HELLO},
        "with claims in the header": {
            "alias": ALIAS,
            "payload": _HELLO,
            "typ": "application/cwt",
            "protected": "oQ-hAXZodHRwczovL2lzc3Vlci5leGFtcGxl",
            "kid_header": "alias",
        },
        "detached": {
            "alias": ALIAS,
            "payload": _HELLO,
            "detached": True,
            "kid_header": "none",
            "tagged": False,
        },
    },
    "VerifyCoseRequest": {"RFC 9052 appendix C.2.1": {"jwk": _COSE_KEY, "cose": _COSE}},
    "EncryptJweRequest": {
        "to a public JWK": {
            "plaintext": _HELLO,
            "enc": "A256GCM",
            "recipients": [{"jwk": _BOB, "alg": "ECDH-ES+A256KW"}],
        },
        "from the imported key, to two": {
            "plaintext": _HELLO,
            "enc": "A256CBC-HS512",
            "recipients": [
                {"alias": "example agreement", "alg": "ECDH-1PU+A256KW"},
                {"jwk": _BOB, "alg": "ECDH-1PU+A256KW", "header": {"kid": "did:example:bob#key-1"}},
            ],
            "from": "example agreement",
            "header": {"typ": "application/didcomm-encrypted+json"},
            "serialization": "general",
        },
    },
    "DecryptJweRequest": {"by the imported key": {"alias": "example agreement", "jwe": _JWE}},
    "CsrRequest": {
        "by the imported key": {
            "alias": "example signing",
            "subject": "CN=issuer.example,O=Example,C=DE",
            "alternative_names": ["DNS:issuer.example"],
        }
    },
    "IssueCertificateRequest": {
        "a self-signed one": {
            "alias": "example signing",
            "profile": "self-signed",
            "subject": "CN=issuer.example,O=Example,C=DE",
            "days": 365,
        },
    },
    "RandomRequest": {"a secret": {"length": 32}},
    "CreateProfile": {"a tenant": {"name": PROFILE}},
    "ChangeProfile": {
        "publish its keys": {"jwks": "public"},
        "bound its keys and calls": {
            "max_keys": 1000,
            "min_deletion_delay": 604_800,
            "calls_per_second": 100,
            "delete_scope": True,
        },
    },
    "CreateToken": {
        "a signer": {
            "name": "issuer",
            "scopes": ["sign", "keys:read"],
            "profiles": ["default"],
            "expires": "2036-01-31T12:00:00Z",
        }
    },
}


def _ed25519_key(kid: str, x: str, b58: str, multikey: str, **facts: Any) -> dict[str, Any]:
    """A key as the service describes it; `facts` replace the usual values."""
    usual = {
        "aliases": [],
        "labels": {},
        "operations": ["sign", "verify"],
        "exportable": False,
        "state": "enabled",
        "created": "2026-01-31T12:00:00.000Z",
        "expires": None,
        "deletes": None,
        "last_used": None,
    }
    return {
        "kid": kid,
        "alg": "ed25519",
        "kty": "OKP",
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x},
        "b58": b58,
        "multikey": multikey,
        "did": f"did:key:{multikey}",
        **usual,
        **facts,
    }


def _generated(**facts: Any) -> dict[str, Any]:
    return _ed25519_key(
        "8wfbAOzXUmykRaMEAgOby_8pcWIk886iovbM3BCTJiI",
        "e1Hpwnq3A6i-YE4NWMG8TpI4urNB3xO0jNWtjHvIVPA",
        "9JPbHpVVRp3Reyi6x2XeDb6szsPiELDPwwmHzK4nYitP",
        "z6Mknkedt4jvmMXtmUYodbVV4gespSfZeDTkdxgDpb2oTwfm",
        **facts,
    )


def _imported(**facts: Any) -> dict[str, Any]:
    return _ed25519_key(
        KID,
        _ED25519["x"],
        "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
        "z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
        **{"exportable": True, "imported": True, **facts},
    )


_COSE_FORM = {"cose_key": "owEBIAYhWCDXWpgBgrEKt9VL_tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="}
_ROTATED: Final = _ed25519_key(
    "pzXU5PF3RDvDpbrMMRQOxNFaEg3RO9kGlQEi2L69VH4",
    "MViOgzmqyU4y1Pf58Zu7Vc9Yy6G6y7uWSfThrmq34r0",
    "4KdJEhYsNHesbRX7wUHZ6285CqkcLxqmSrMxbuy58bf2",
    "z6MkhmtLpwoJhq9LhvMpd3FPw7g52R2Tkr688sGtSBw63pSQ",
    aliases=[ALIAS],
    exportable=True,
)
_ROTATED_SIG = (
    "u36cL0uofv6g_oYPmqEtcwWFV0PYVwr7xlMq8xX9H9WAXecn8ZWcBnEKM-0fY_42XPpIT_4G9537mCAK7E3MBQ=="
)
_TOKEN = {
    "id": HOLDER,
    "name": "issuer",
    "scopes": ["sign", "keys:read"],
    "profiles": ["default"],
    "created": "2026-01-31T12:00:00.000Z",
    "expires": "2036-01-31T12:00:00.000Z",
    "last_used": None,
}

_EVENT = {
    "time": "2026-01-31T12:00:00.000000Z",
    "request_id": "7e2973aa8cc64875a5a7b6bdd50df3e9",
    "who": "issuer",
    "address": "192.0.2.7",
    "profile": "default",
    "kid": KID,
    "alg": "ed25519",
    **dict.fromkeys(("subject", "token")),
    "operation": "signCose",
    "outcome": "success",
    "profile_id": "5d0c9b1f6a7e3482",
}

_CERTIFIED: Final[Mapping[str, Any]] = {
    "certificates": [_CERTIFICATE],
    "x5t#S256": _THUMBPRINT,
}

# The answer to the first example of each call, by operationId, after the calls before it. The
# service itself gives the others (openapi.py).
ANSWERS: Final[Mapping[str, Any]] = {
    "generateKey": _generated(aliases=[ALIAS]),
    "generateKeys": {"keys": [_generated(), _ROTATED | {"aliases": [], "exportable": False}]},
    "importKey": _imported(aliases=[ALIAS]),
    "findKey": _imported(aliases=[ALIAS]) | _COSE_FORM,
    "listKeys": [_generated(), _imported(aliases=[ALIAS])],
    "rotateKey": _ROTATED,
    "exportKey": {"jwk": {**_ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}},
    "restoreKey": _imported(state="verify-only"),
    "associateAlias": {"alias": SECOND_ALIAS, "kid": KID},
    "dissociateAlias": {"alias": SECOND_ALIAS, "kid": KID},
    "setCertificates": _imported(aliases=[SECOND_ALIAS], state="verify-only", **_CERTIFIED),
    "getKey": _imported(aliases=[SECOND_ALIAS], state="verify-only", **_CERTIFIED) | _COSE_FORM,
    "updateKey": _imported(
        aliases=[SECOND_ALIAS],
        labels={"purpose": "assertion", "stage": "test"},
        state="verify-only",
        **_CERTIFIED,
    ),
    "removeCertificates": _imported(
        aliases=["did:example:123#free"],
        labels={"purpose": "assertion", "stage": "test"},
        expires="2099-12-31T22:59:59.000Z",
    ),
    "deleteKey": {"message": "Key deleted", "kid": KID},
    "deleteKeyByAlias": {
        "message": "Key deleted",
        "kid": "jt9eHkyGmDQeTgcWSM8iVrt2JzVVOvlW4xDcSj0PRYs",
    },
    "sign": {"sig": _ROTATED_SIG, "alg": "EdDSA", "kid": _ROTATED["kid"]},
    "verify": {"valid": True},
    "signBatch": {
        "results": [
            {"sig": _ROTATED_SIG},
            {
                "sig": "S3xYGC5A3eHwT7FPxswJzopA4eC2zbfXGzP73VovsRGBAqNVmpqeSnCF_9Q7RJ8mC9IjbMtR"
                "S6SaEjhVK_eVDQ=="
            },
        ]
    },
    "verifyBatch": {"results": [{"valid": True}]},
    "encrypt": {
        "ciphertext": "t3ZS5Sw=",
        "nonce": "e-ndJcmqtjPBfFiS",
        "tag": "te0sb8WugSgEZly6_RA8pQ==",
    },
    "decrypt": {"plaintext": _HELLO},
    "wrap": {"wrapped": "jMS_7Kip8vOMiyg5Lx6PSz5aX9LyC9aI"},
    "unwrap": {"key": "AAECAwQFBgcICQoLDA0ODw=="},
    "derive": {"secret": _AGREED},
    "mac": {"mac": "U8QCcqcMFcpO4K9N8fFV_WxB4AziMH2Jh-zUuzan6ZA="},
    "verifyMac": {"valid": True},
    "encapsulate": {"ciphertext": example_mlkem.CIPHERTEXT, "secret": example_mlkem.SHARED},
    "decapsulate": {"secret": example_mlkem.SHARED},
    "sealHpke": _HPKE,
    "openHpke": {"plaintext": _HELLO},
    "random": {"bytes": "DR10MJudDKmQp-qQ3-CRuDK6IcEq71bewMG32FExDns="},
    "makeBox": {
        "ciphertext": "iYBI5YytEhvk14Q3ZIJmVJ7fOeor",
        "nonce": "-r7FNO0fGNbbl9nyUtSKjRy94IJrhlNR",
    },
    "openBox": {"plaintext": _HELLO},
    "sealBox": {
        "ciphertext": "zmJd1e8cmq-6xtKMPdqZTMKCMJ0qYCSDwUE9CwLhbkQ13VEv97_rdmshPO9ZmnOQL4WNGF4="
    },
    "openSealedBox": {"plaintext": _HELLO},
    "packDidcomm": {"packed": _PACKED},
    "unpackDidcomm": {"message": _HELLO, "to": _VERKEY, "from": _VERKEY, "kid": _WALLET},
    "signJws": {
        "jws": "eyJhbGciOiJFZERTQSIsImtpZCI6ImRpZDpleGFtcGxlOjEyMyNrZXktMSJ9.aGVsbG8.daxe9bb7MmM5"
        "FyxbM24IqaiGFDL_rJacmqyC9UcF8nDXKcvkEw0f0YL1RJoKRKpM5Al2MyfYFsC1rMPJgwU2DA"
    },
    "verifyJws": {
        "valid": True,
        "header": {"alg": "EdDSA"},
        "payload": "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc=",
    },
    "encryptJwe": {"jwe": _JWE_MADE},
    "decryptJwe": {"plaintext": _HELLO, "header": _JWE_HEADER},
    "jwks": {
        "keys": [
            {**_ROTATED["jwk"], "use": "sig", "kid": _ROTATED["kid"]},
            {**_ROTATED["jwk"], "use": "sig", "kid": ALIAS},
        ]
    },
    "makeCsr": {"csr": _pem("CERTIFICATE REQUEST", _CSR)},
    "issueCertificate": {"certificate": _pem("CERTIFICATE", _ISSUED)},
    "attestKeys": {
        "jwt": "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5"
        "Z3JTNGsiLCJ0eXAiOiJrZXktYXR0ZXN0YXRpb24rand0In0.eyJpYXQiOjE3Njk4NjA4MDAsImV4cCI6"
        "MTc2OTg2MTEwMCwibm9uY2UiOiJ0WmlnbnNuRmJwIiwiYXVkIjoiaHR0cHM6Ly9pc3N1ZXIuZXhhbXBs"
        "ZSIsImF0dGVzdGVkX2tleXMiOlt7Imt0eSI6Ik9LUCIsImNydiI6IlgyNTUxOSIsIngiOiJoU0R3Q1lr"
        "d3AxUjBpMzNjdEQ3M1dnMl9PZzBtT0JyMDY2U3BqcXFiVG1vIiwia2lkIjoidTgwOVZwcHg1aXhXTU9v"
        "aHhXcjJhTTNtNWJEMExRNjdnX0dQbXViUXVzNCJ9XSwia2V5X3N0b3JhZ2UiOlsiaXNvXzE4MDQ1X2Jh"
        "c2ljIl19.zc0KEJvFbTP7FjEuKj8MhyiBUxtdn3tIJI3og0xKqX3H3pe4lLMkrhdrPlW6SPIp3Oqm0Qs"
        "I5JFPKB53dvnSAQ"
    },
    "signCose": {"cose": _COSE_MADE},
    "verifyCose": {
        "valid": True,
        "payload": "VGhpcyBpcyB0aGUgY29udGVudC4=",
        "protected": "oQEm",
        "unprotected": "oQRCMTE=",
    },
    "createProfile": {"name": PROFILE, "success": True},
    "listProfiles": {"profiles": [PROFILE, "default"], "settings": {}},
    "changeProfile": {
        "name": PROFILE,
        "jwks": "public",
        "max_keys": None,
        "min_deletion_delay": None,
        "calls_per_second": None,
        "delete_scope": False,
    },
    "deleteProfile": {"success": True},
    # Not a token: its checksum is wrong.
    "createToken": {
        "token": f"mkms_{HOLDER}_Q9YYPq1ekttq4bKViCkkSDziR7sTCDs9edoZ3EbjqdpSeV1bG",
        "record": _TOKEN,
    },
    "listTokens": [_TOKEN],
    "getOwnToken": {
        "id": None,
        "name": None,
        "scopes": list(SCOPES),
        "profiles": None,
        "expires": None,
    },
    "revokeToken": {"message": "Token revoked", "id": HOLDER},
    "listAuditEvents": [_EVENT],
    "healthz": {"status": "alive"},
    "readyz": {"status": "ready"},
}
