"""The seal by Vault Transit, at OpenBao and at the Vault door."""

import asyncio
import base64
import contextlib
import os

import pytest
from aiohttp import web
from filled_stores import write_key
from openbao import needs_openbao, openbao
from vault import ROOT_TOKEN

from minikms.seals import SealFault, SealUnavailable, vault_transit
from minikms.seals.vault_transit import VaultTransit

SECRET, BOUND = b"the store key", b"minikms store key, envelope 1, x"


@pytest.fixture
def token_file(tmp_path):
    return write_key(tmp_path / "vault.token", ROOT_TOKEN)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("vault-transit:", "URL/v1/MOUNT"),
        ("vault-transit:https://h/v1/transit/kms?token-file=f", "URL/v1/MOUNT"),
        ("vault-transit:ftp://h/v1/transit/keys/kms?token-file=f", "URL/v1/MOUNT"),
        ("vault-transit:https://h/v1/transit/keys/kms", "token-file"),
        ("vault-transit:https://h/v1/transit/keys/kms?token=s.secret", "token-file"),
        ("vault-transit:https://h/v1/transit/keys/kms?token-file=", "token-file"),
        ("vault-transit:https://h/v1/transit/keys/kms?token-file=f&token-file=g", "token-file"),
        ("vault-transit:https://u:s.secret@h/v1/transit/keys/kms?token-file=f", "no user"),
        ("vault-transit:https://h:s.secret/v1/transit/keys/kms?token-file=f", "not valid"),
        ("vault-transit:http://vault.example/v1/transit/keys/kms?token-file=f", "https"),
    ],
)
def test_a_uri_that_is_not_one(uri, text):
    with pytest.raises(ValueError, match=text) as error:
        VaultTransit(uri)
    assert "s.secret" not in str(error.value)


async def test_the_vault_door_seals(doors, token_file):
    seal = VaultTransit(f"vault-transit:{doors.vault}/v1/transit/keys/kms?token-file={token_file}")
    ciphertext = await asyncio.to_thread(seal.seal, SECRET, BOUND)
    assert SECRET not in ciphertext
    assert await asyncio.to_thread(seal.unseal, ciphertext, BOUND) == SECRET
    with pytest.raises(SealFault):
        await asyncio.to_thread(seal.unseal, ciphertext, b"another envelope")


@pytest.mark.parametrize("mode", [0o644, 0o666, 0])
def test_a_token_that_others_can_read_is_not_sent(tmp_path, token_file, mode):
    os.chmod(token_file, mode)
    if not mode:
        os.unlink(token_file)
    # No server listens at the port: the token file is checked before any call.
    seal = VaultTransit(f"vault-transit:http://127.0.0.1:1/v1/t/keys/k?token-file={token_file}")
    with pytest.raises(SealUnavailable, match="token file"):
        seal.unseal(b"vault:v1:x", BOUND)


def test_a_server_that_is_not_there(token_file):
    seal = VaultTransit(f"vault-transit:http://127.0.0.1:1/v1/t/keys/k?token-file={token_file}")
    with pytest.raises(SealUnavailable, match=r"127\.0\.0\.1:1") as error:
        seal.unseal(b"vault:v1:x", BOUND)
    assert not isinstance(error.value, SealFault)


def test_a_ca_file_that_cannot_be_used(token_file):
    uri = f"vault-transit:https://127.0.0.1:1/v1/t/keys/k?token-file={token_file}"
    for file in ("/none", token_file):
        with pytest.raises(SealUnavailable, match="ca-file"):
            VaultTransit(f"{uri}&ca-file={file}").unseal(b"vault:v1:x", BOUND)


@pytest.fixture
def serve_seal(aiohttp_server, token_file):
    """Start a server that answers as a handler does, and give a seal there, and its URLs."""

    async def start(handler):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        server = await aiohttp_server(app)
        place = server.make_url("/v1/transit/keys/kms")
        return VaultTransit(f"vault-transit:{place}?token-file={token_file}"), server.make_url

    return start


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("operation", ["seal", "unseal"])
async def test_a_redirect_is_not_followed(serve_seal, status, operation):
    """The target of the redirect would get the token and the secret, or choose the secret."""
    asked = []

    async def answer(request):
        asked.append(request)
        secret = base64.b64encode(b"another key").decode()
        return web.json_response({"data": {"ciphertext": "vault:v1:x", "plaintext": secret}})

    async def redirect(request):
        location = str(target(request.path))
        return web.json_response({"data": {}}, status=status, headers={"Location": location})

    _, target = await serve_seal(answer)
    seal, _ = await serve_seal(redirect)
    with pytest.raises(SealUnavailable, match=str(status)) as error:
        await asyncio.to_thread(getattr(seal, operation), SECRET, BOUND)
    assert not isinstance(error.value, SealFault)
    assert asked == []


async def test_an_answer_without_end_is_cut_off(serve_seal):
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 65536)
        return response

    seal, _ = await serve_seal(answer)
    with pytest.raises(SealUnavailable, match="not in Vault's format"):
        await asyncio.to_thread(seal.unseal, b"vault:v1:x", BOUND)


@pytest.mark.parametrize(
    "body",
    [
        "null",
        "[]",
        '{"data": null}',
        '{"data": {}}',
        '{"data": {"plaintext": null}}',
        '{"data": {"plaintext": 5}}',
        '{"data": {"plaintext": "AAA"}}',
        '{"data": {"plaintext": "!AAA"}}',
        '{"data": {"plaintext": "\\u00e9"}}',
    ],
)
async def test_an_answer_without_a_plaintext_is_not_final(serve_seal, body):
    async def answer(request):
        return web.Response(text=body, content_type="application/json")

    seal, _ = await serve_seal(answer)
    with pytest.raises(SealUnavailable, match="not in Vault's format") as error:
        await asyncio.to_thread(seal.unseal, b"vault:v1:x", BOUND)
    assert not isinstance(error.value, SealFault)


async def test_a_server_that_does_not_answer(serve_seal, monkeypatch):
    async def answer(request):
        await opened.wait()
        return web.json_response({})

    monkeypatch.setattr(vault_transit, "_TIMEOUT", 0.2)
    opened = asyncio.Event()
    seal, _ = await serve_seal(answer)
    unsealing = asyncio.ensure_future(asyncio.to_thread(seal.unseal, b"vault:v1:x", BOUND))
    done, _ = await asyncio.wait([unsealing], timeout=20)
    opened.set()
    assert done
    with pytest.raises(SealUnavailable, match="did not answer within"):
        await unsealing


@pytest.fixture(scope="module")
def bao(tmp_path_factory):
    """An OpenBao whose Transit engine has a key `kms`."""
    with openbao(tmp_path_factory.mktemp("openbao")) as server:
        assert server.ask("POST", "transit/keys/kms", {}).status in (200, 204)
        yield server


@pytest.fixture
def make_seal(bao, token_file):
    def make(place="transit/keys/kms", token=ROOT_TOKEN, more=""):
        with open(token_file, "w") as file:
            file.write(f"{token}\n")
        return VaultTransit(f"vault-transit:{bao.url}/v1/{place}?token-file={token_file}{more}")

    return make


@needs_openbao
@pytest.mark.process
class TestOpenBao:
    def test_it_seals_what_it_opens(self, make_seal):
        seal = make_seal()
        ciphertext = seal.seal(SECRET, BOUND)
        assert ciphertext.startswith(b"vault:v")
        assert seal.unseal(ciphertext, BOUND) == SECRET

    def test_a_change_is_a_fault(self, make_seal):
        seal = make_seal()
        ciphertext = seal.seal(SECRET, BOUND)
        for place in range(len(b"vault:v1:"), len(ciphertext), 7):
            changed = bytearray(ciphertext)
            changed[place] = ord("B") if changed[place] == ord("A") else ord("A")
            with pytest.raises(SealFault):
                seal.unseal(bytes(changed), BOUND)
        for other, bound in ((ciphertext, BOUND + b"x"), (b"\xff", BOUND), (b"", BOUND)):
            with pytest.raises(SealFault):
                seal.unseal(other, bound)

    def test_a_new_version_of_the_key_seals_anew_and_opens_the_old(self, bao, make_seal):
        seal = make_seal()
        old = seal.seal(SECRET, BOUND)
        assert bao.ask("POST", "transit/keys/kms/rotate", {}).status in (200, 204)
        new = seal.seal(SECRET, BOUND)
        assert old.split(b":")[1] != new.split(b":")[1]
        assert seal.unseal(old, BOUND) == seal.unseal(new, BOUND) == SECRET

    def test_what_may_change_is_tried_again(self, make_seal):
        for options, text in (
            ({"token": "s.wrong"}, "403"),
            ({"place": "none/keys/kms"}, "404"),
            ({"more": "&namespace=none"}, "40[34]"),
        ):
            with pytest.raises(SealUnavailable, match=text) as error:
                make_seal(**options).seal(SECRET, BOUND)
            assert not isinstance(error.value, SealFault)
            assert "s.wrong" not in str(error.value)

    def test_a_key_that_binds_nothing_is_refused(self, bao, make_seal):
        assert bao.ask("POST", "transit/keys/rsa", {"type": "rsa-2048"}).status in (200, 204)
        with pytest.raises(SealFault):
            make_seal("transit/keys/rsa").seal(SECRET, BOUND)

    def test_a_token_file_is_read_at_each_call(self, make_seal, token_file):
        seal = make_seal(token="s.wrong")
        with pytest.raises(SealUnavailable):
            seal.seal(SECRET, BOUND)
        make_seal()
        assert seal.unseal(seal.seal(SECRET, BOUND), BOUND) == SECRET

    def test_another_mount_with_a_slash(self, bao, make_seal):
        assert bao.ask("POST", "sys/mounts/team/transit", {"type": "transit"}).status == 204
        assert bao.ask("POST", "team/transit/keys/kms", {}).status in (200, 204)
        seal = make_seal("team/transit/keys/kms")
        assert seal.unseal(seal.seal(SECRET, BOUND), BOUND) == SECRET
