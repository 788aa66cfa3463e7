"""An algorithm on a curve that Mini KMS does not know yet: one row gives it COSE and X.509."""

from importlib.metadata import EntryPoint

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from minikms.config import Config
from minikms.encodings import b64url, b64url_decode
from minikms.plugin import EcAlgorithm, Pkcs8KeyAlgorithm
from minikms.plugin.curves import CURVES, Curve
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service


class Bp384(EcAlgorithm, Pkcs8KeyAlgorithm[ec.EllipticCurvePrivateKey]):
    """brainpoolP384r1 (RFC 5639)."""

    name, crv = "bp384", "brainpoolP384r1"
    signing_algs = ("ESB384",)
    curve, hash = ec.BrainpoolP384R1(), hashes.SHA384()


# By the registries of COSE of IANA.
ROW = Curve(258, {"ESB384": (-267,)}, Bp384.hash, Bp384.curve)


@pytest.fixture
def row(monkeypatch):
    monkeypatch.setitem(CURVES, Bp384.crv, ROW)


@pytest.fixture
async def client(start):
    entry = EntryPoint(Bp384.name, f"{__name__}:{Bp384.__name__}", GROUP)
    return await start(create_service(Config(), AlgorithmRegistry([entry])))


@pytest.mark.usefixtures("row")
async def test_a_row_gives_a_curve_cose_and_x509(client, get, post, generate):
    kid, other = [(await generate(Bp384.name))["kid"] for _ in range(2)]
    key = await get(f"/key/{kid}")
    x, y = (b64url_decode(key["jwk"][name]) for name in "xy")
    assert cbor2.loads(b64url_decode(key["cose_key"])) == {1: 2, -1: 258, -2: x, -3: y}
    signed = await post("/cose/sign", {"kid": kid, "payload": b64url(b"hello")})
    protected = cbor2.loads(b64url_decode(signed["cose"])).value[0]
    assert cbor2.loads(protected)[1] == -267
    assert (await post("/cose/verify", {"kid": kid, "cose": signed["cose"]}))["valid"]

    csr = await post("/csr", {"kid": other, "subject": "CN=leaf"})
    request = x509.load_pem_x509_csr(csr["csr"].encode())
    assert request.is_signature_valid
    assert isinstance(request.public_key().curve, ec.BrainpoolP384R1)
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=root", "days": 9}
    root = (await post("/certificate", body))["certificate"]
    async with client.put(f"/key/{kid}/certificates", json={"certificates": [root]}) as response:
        assert response.status == 200
    leaf = await post("/certificate", {"kid": kid, "profile": "client", "days": 1, **csr})
    certificate = x509.load_pem_x509_certificate(leaf["certificate"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(root.encode()))
    assert certificate.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384


async def test_without_a_row_it_has_neither(get, post, refuses, generate):
    kid = (await generate(Bp384.name))["kid"]
    assert (await get(f"/key/{kid}"))["cose_key"] is None
    body = {"kid": kid, "payload": b64url(b"hello")}
    await refuses("/cose/sign", body, 422, "unsupported-option")
    await refuses("/csr", {"kid": kid, "subject": "CN=a"}, 422, "unsupported-option")
    assert (await post("/jws/sign", body))["jws"]
