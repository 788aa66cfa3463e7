"""Data at rest: a thief of the disk can read none."""

import secrets
import time
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from minikms.config import Config
from minikms.encodings import PRIVATE_MEMBERS
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve.assembly import create_service

# Of numbers shorter than this, some bytes are found by chance.
LONG_ENOUGH = 12


def planted():
    return f"planted-{secrets.token_hex(8)}"


@pytest.fixture
def on_disk(persistent, tmp_path, request):
    """All bytes that the store has on disk, once its service has stopped."""

    def joined(files):
        return b"".join(Path(file).read_bytes().rstrip(b"\0") for file in files)

    if persistent["store"].startswith("sqlite:"):
        return lambda: joined(tmp_path.glob("keys.db*"))
    server = request.getfixturevalue("postgres_server")
    begun = time.time() - 1  # since a file's time is that of a clock's tick

    def read():
        server.execute("CHECKPOINT")
        name = persistent["store"].rpartition("/")[2]
        number = server.execute(f"SELECT oid FROM pg_database WHERE datname = '{name}'")
        data = (server.folder / "data/base" / number.strip()).iterdir()
        # Earlier contents do not count; a full file gets another name.
        log = (server.folder / "data/pg_wal").glob("0*")
        return joined([*data, *(file for file in log if file.stat().st_mtime >= begun)])

    return read


async def test_no_private_key_alias_or_label(start, persistent, on_disk):
    private = []
    client = await start(create_service(Config(**persistent)))
    profile, other = planted(), planted()
    for name in (profile, other):
        await client.post("/profile", json={"name": name})
    headers = {"X-Profile": profile}
    for algorithm in AlgorithmRegistry.from_installed().names:
        labels = {planted(): planted()}
        body = {"alg": algorithm, "alias": planted(), "labels": labels, "exportable": True}
        async with client.post("/key/generate", json=body, headers=headers) as response:
            kid = (await response.json())["kid"]
        async with client.get(f"/key/{kid}/export", headers=headers) as response:
            jwk = (await response.json())["jwk"]
        private += [text for name, text in jwk.items() if name in PRIVATE_MEMBERS]
    await client.post(f"/key/{kid}/associate", json={"alias": planted()}, headers=headers)
    body = {"alg": "hs256", "secret": secrets.token_hex(32)}
    assert (await client.post("/key/import", json=body, headers=headers)).status == 200
    await client.delete(f"/profile/{other}")
    await client.close()

    raw = on_disk()
    assert b"planted" not in raw  # as all names, aliases and labels begin
    long = [text for text in private if len(text) > LONG_ENOUGH]
    assert len(long) > 25
    for text in long:
        assert text.encode() not in raw
        assert urlsafe_b64decode(text + "==") not in raw
        assert urlsafe_b64decode(text + "==").hex().encode() not in raw
    assert persistent["store_key"].encode() not in raw
    # And what would be found if it were there: it is the right place.
    assert b"default_profile" in raw
