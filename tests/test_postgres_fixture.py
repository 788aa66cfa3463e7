"""The server that tests have: what they do to it is what happens."""

import asyncio

import pytest
from aries_askar import AskarError, Store


@pytest.fixture
async def store(own_postgres):
    url = own_postgres.create_database() + "?connect_timeout=1"  # 30 without it
    store = await Store.provision(url, "raw", Store.generate_raw_key(), profile="minikms")
    async with store.session() as session:
        await session.insert("category", "name", "value")
    yield store
    await store.close()


async def value(store):
    async with store.session() as session:
        return (await session.fetch("category", "name")).value


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_keeps_port_and_data(own_postgres, store, mode):
    own_postgres.stop(mode)
    with pytest.raises(AskarError):
        await value(store)
    own_postgres.start()
    assert await value(store) == b"value"


async def test_nothing_answers_while_it_is_paused(own_postgres, store):
    own_postgres.pause()
    asked = asyncio.create_task(value(store))
    done, _ = await asyncio.wait([asked], timeout=1)
    own_postgres.resume()
    assert not done
    assert await asked == b"value"


async def test_a_paused_server_is_stopped_all_the_same(own_postgres, store):
    own_postgres.pause()
    own_postgres.restart("immediate")
    assert own_postgres.execute("SELECT 1") == "1\n"


@pytest.mark.parametrize("own_postgres", [{"durable": True}], indirect=True, ids=str)
def test_only_a_durable_server_waits_for_the_disk(own_postgres):
    assert own_postgres.execute("SHOW fsync") == "on\n"
    own_postgres.reset()
    assert own_postgres.execute("SHOW fsync") == "off\n"


def test_changes_of_a_test_to_the_server_are_undone(own_postgres):
    _, _, name = own_postgres.create_database().rpartition("/")
    own_postgres.set("default_transaction_read_only", "on")
    own_postgres.pause()
    own_postgres.reset()
    assert own_postgres.execute("SHOW default_transaction_read_only") == "off\n"
    own_postgres.stop()
    own_postgres.reset()
    assert own_postgres.execute("SELECT 1", name) == "1\n"


def test_a_database_made_is_empty_and_another_each_time(postgres_server):
    made = [postgres_server.create_database() for _ in range(2)]
    assert len(set(made)) == 2
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    for url in made:
        assert postgres_server.execute(tables, url.rpartition("/")[2]) == "0\n"
