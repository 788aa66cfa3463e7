"""The head of a request at the Vault door, and the form of its answers."""

import pytest


async def test_health_needs_no_token(vault):
    status, answer = await vault.call("GET", "sys/health")
    assert status == 200
    assert answer["initialized"] is True
    assert answer["sealed"] is False


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("sys/nothing", "1 error occurred:\n\t* unsupported path\n\n"),
        ("nothing/here", 'no handler for route "nothing/here". route entry not found.'),
    ],
)
async def test_an_unknown_path_is_404(vault, path, sentence):
    assert await vault.call("GET", path) == (404, {"errors": [sentence]})


async def test_a_path_with_another_method_is_405(vault):
    status, answer = await vault.call("POST", "sys/health", {})
    assert (status, answer["errors"]) == (405, ["1 error occurred:\n\t* unsupported operation\n\n"])
