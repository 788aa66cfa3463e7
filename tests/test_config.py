import dataclasses

import pytest

from minikms.config import OPTIONS, Config, DoorConfig


def test_a_config_without_options_has_the_defaults():
    assert Config() == Config("127.0.0.1", 8080, 1, 1024 * 1024, "text", "info")


def test_every_field_has_help():
    assert all(field.metadata["help"] for field in OPTIONS)


def test_a_config_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1


def test_the_repr_of_a_config_shows_no_secret():
    """A URL or a URI may have a password or a PIN."""
    config = Config(
        store="postgres://kms:secret@db/kms",
        store_key="secret",
        provider=("hsm=pkcs11:token=kms?pin-value=secret",),
    )
    assert "secret" not in repr(config)


def test_the_repr_of_a_config_shows_no_option_of_a_door():
    door = DoorConfig("plain", "127.0.0.1", 1, {"password": "secret"})
    assert "secret" not in repr(Config(doors=(door,)))
