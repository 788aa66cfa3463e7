import dataclasses

import pytest

from minikms.config import OPTIONS, Config


def test_the_defaults():
    assert Config() == Config("127.0.0.1", 8080, 1, 1024 * 1024, "text", "info")


def test_every_field_has_help():
    assert all(field.metadata["help"] for field in OPTIONS)


def test_it_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1
