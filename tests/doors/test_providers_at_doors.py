"""A key of a provider signs at the doors of AWS and Vault as any other."""

import base64

from aiohttp import ClientSession
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from token_folder import until_open

TARGET = "TrentService"


async def aws(session, url, operation, **members):
    headers = {
        "X-Amz-Target": f"{TARGET}.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, "
        "SignedHeaders=host, Signature=00",
    }
    async with session.post(url, json=members, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_key_that_was_made_by_rest_signs_at_the_aws_door(start_with_doors, token_folder):
    client, urls = await start_with_doors("aws", provider=(token_folder.option,))
    await until_open(client)
    body = {"alg": "p256", "provider": "hsm", "alias": "alias/k"}
    assert (await client.post("/key/generate", json=body)).status == 200
    async with ClientSession() as session:
        message = base64.b64encode(b"hello").decode()
        options = {"KeyId": "alias/k", "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"}
        status, signed = await aws(session, urls["aws"], "Sign", **options)
        assert status == 200, signed
        status, shown = await aws(session, urls["aws"], "GetPublicKey", KeyId="alias/k")
        assert status == 200, shown
        public = load_der_public_key(base64.b64decode(shown["PublicKey"]))
        signature = base64.b64decode(signed["Signature"])
        public.verify(signature, b"hello", ec.ECDSA(hashes.SHA256()))
        status, checked = await aws(
            session, urls["aws"], "Verify", **options, Signature=signed["Signature"]
        )
        assert (status, checked["SignatureValid"]) == (200, True)
        token_folder.set("away")
        status, refused = await aws(session, urls["aws"], "Sign", **options)
        assert (status, refused["__type"]) == (503, "DependencyTimeoutException")


async def test_a_key_that_was_made_by_rest_signs_at_the_vault_door(start_with_doors, token_folder):
    client, urls = await start_with_doors("vault", provider=(token_folder.option,))
    await until_open(client)
    body = {"alg": "p256", "provider": "hsm", "alias": "k"}
    assert (await client.post("/key/generate", json=body)).status == 200
    async with ClientSession() as session:
        url = f"{urls['vault']}/v1/transit"
        message = {"input": base64.b64encode(b"hello").decode()}
        async with session.post(f"{url}/sign/k", json=message) as answer:
            assert answer.status == 200, await answer.text()
            signature = (await answer.json())["data"]["signature"]
        async with session.get(f"{url}/keys/k") as answer:
            shown = (await answer.json())["data"]["keys"]["1"]["public_key"]
        public = load_pem_public_key(shown.encode())
        der = base64.b64decode(signature.rpartition(":")[2])
        public.verify(der, b"hello", ec.ECDSA(hashes.SHA256()))
        async with session.post(f"{url}/keys/k/rotate") as answer:
            assert answer.status in (200, 204), await answer.text()
        assert len(token_folder.keys) == 2
        async with session.post(f"{url}/sign/k", json=message) as answer:
            assert (await answer.json())["data"]["signature"].startswith("vault:v2:")
        token_folder.set("away")
        async with session.post(f"{url}/sign/k", json=message) as answer:
            assert answer.status == 503
