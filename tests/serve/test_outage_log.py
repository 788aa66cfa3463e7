"""The log of an outage of the database: one line, and one when it is back."""

import asyncio

import pytest
from ports import free_port
from serve.haproxy import HAProxy, needs_haproxy

from minikms.store.askar.stores import new_raw_key

GENERATE = "POST", "/key/generate", b'{"alg":"ed25519"}'

# A proxy that leads to no primary.
CONFIG = """
global
    stats socket {folder}/haproxy.sock
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend database
    bind 127.0.0.1:{port}
    default_backend none
backend none
    server primary 127.0.0.1:{unused} check inter 100ms fall 1
"""


def said(service):
    """The lines so far, except those of requests."""
    return [line for line in service.lines if " minikms.access " not in line]


@pytest.mark.process
@pytest.mark.timeout(90)  # calls wait for the database for six seconds, three times
async def test_a_database_that_is_away(serve, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    service = serve("--port", "0", **options)

    def generate(_=None):
        return service.status(*GENERATE)

    assert generate() == 200
    before = len(said(service))
    await asyncio.to_thread(own_postgres.stop, "immediate")
    for _ in range(3):
        statuses = await asyncio.gather(*(asyncio.to_thread(generate) for _ in range(10)))
        assert set(statuses) == {503}
    await asyncio.to_thread(own_postgres.start)
    await asyncio.to_thread(service.read_until, "answers again")
    code, written = await asyncio.to_thread(service.stop)
    lines = [*said(service)[before:], *written.splitlines()]
    assert code == 0
    assert [line for line in lines if "sqlx" in line] == []
    assert len([line for line in lines if "no new connections" in line]) == 1
    assert len([line for line in lines if "no notices" in line]) <= 1


@pytest.mark.process
@needs_haproxy
def test_a_proxy_that_has_no_primary(run, tmp_path):
    port = free_port()
    config = CONFIG.format(folder=tmp_path, port=port, unused=free_port())
    with HAProxy.running(tmp_path, config) as haproxy:
        haproxy.wait_until("none", "primary", "DOWN")
        url = f"postgres://user@127.0.0.1:{port}/kms"
        ended = run("store", "info", "--store", url, STORE_KEY=new_raw_key())
    assert ended.returncode == 2
    assert "a proxy in front of it has no primary" in ended.stderr
