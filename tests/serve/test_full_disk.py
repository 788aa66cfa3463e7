"""A service whose store is on a full disk: it reads, and writes again once there is room."""

import asyncio
import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from serve.small_disks import fill, small_disk

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system"),
]


@pytest.fixture
def disk(tmp_path):
    """A folder with a small disk of its own."""
    with small_disk(tmp_path / "disk", 2 * 1024 * 1024) as folder:
        yield folder


def call(service, method, path, body=None):
    with contextlib.closing(service.connect()) as connection:
        connection.request(method, path, body and json.dumps(body))
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())


def test_reads_go_on_while_the_disk_is_full(serve, make_store, disk):
    options = asyncio.run(make_store(f"sqlite://{disk}/keys.db"))
    # Most of the keys that sign are read from the store.
    service = serve("--port", "0", CACHE_SIZE="3", **options)
    made = [call(service, "POST", "/key/generate", {"alg": "ed25519"})[1] for _ in range(12)]
    kids = [key["kid"] for key in made]

    def sign(kid):
        return call(service, "POST", "/sign", {"kid": kid, "data": "aGVsbG8="})[0]

    def write():
        return call(service, "POST", "/key/generate", {"alg": "ed25519"})

    other = fill(disk)
    acknowledged = 0
    while (answer := write())[0] == 200:
        acknowledged += 1
    assert answer[0] == 503
    for _ in range(3):
        assert [sign(kid) for kid in kids] == [200] * len(kids)
        with ThreadPoolExecutor(4) as callers:  # for whom connections are opened
            assert set(callers.map(sign, kids * 3)) == {200}
        status, listed = call(service, "GET", "/keys?limit=100")
        assert (status, len(listed)) == (200, 12 + acknowledged)
        assert call(service, "GET", f"/key/{kids[0]}")[0] == 200
        status, problem = write()
        assert (status, problem.get("outcome")) == (503, None)
        assert problem["type"].endswith(":store-unavailable")
        assert "disk is full" in problem["detail"]
        assert call(service, "DELETE", f"/key/{kids[0]}")[0] == 503
    other.unlink()
    assert write()[0] == 200
    assert [sign(kid) for kid in kids] == [200] * len(kids)
    assert len(call(service, "GET", "/keys?limit=100")[1]) == 13 + acknowledged
    code, log = service.stop()
    log = "".join(service.lines) + log
    assert code == 0
    assert log.count("disk is full") == 1
    assert log.count("has room again") == 1
    assert "is not a store" not in log


def test_a_start_on_a_full_disk(run, make_store, disk):
    options = asyncio.run(make_store(f"sqlite://{disk}/keys.db"))
    fill(disk)
    ended = run("serve", "--port", "0", **options)
    assert ended.returncode == 2
    assert "disk is full" in ended.stderr
    assert "is not a store" not in ended.stderr
