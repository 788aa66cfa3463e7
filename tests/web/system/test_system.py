import pytest
from algorithm_facts import FACTS

MEMBERS = ("name", "aliases", "kty", "jose_algs")


async def test_the_listing_agrees_with_the_facts_of_each_algorithm(client):
    response = await client.get("/algorithms")
    found = {}
    for entry in await response.json():
        assert entry.keys() == {*MEMBERS, "operations", "opt_in", "source"}
        if entry["source"] == "minikms-server":
            found[entry["name"]] = (
                entry["kty"],
                entry["jose_algs"],
                entry["operations"],
                entry["opt_in"],
            )
    assert found == {
        name: (
            facts.kty,
            [*facts.signing, *facts.jose],
            [*facts.uses, *(f"import-{form}" for form in facts.imports)],
            [*facts.opt_in],
        )
        for name, facts in FACTS.items()
    }
    assert response.status == 200


@pytest.mark.each_store
@pytest.mark.parametrize(("path", "status"), [("/healthz", "alive"), ("/readyz", "ready")])
async def test_health_and_readiness_are_answered(client, path, status):
    response = await client.get(path)
    assert (response.status, await response.json()) == (200, {"status": status})


async def test_routes_without_keys_ignore_the_profile(client):
    for path in ("/healthz", "/readyz", "/algorithms", "/profiles"):
        assert (await client.get(path, headers={"X-Profile": "nobody"})).status == 200
