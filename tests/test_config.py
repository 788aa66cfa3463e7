import dataclasses

import pytest

from minikms.config import Config


def test_the_defaults():
    assert Config.from_mapping({}) == Config()
    assert Config() == Config("127.0.0.1", 8080, 1024 * 1024, "text", "info")


def test_every_field_has_a_variable_and_help():
    values = {"host": "::1", "port": 1, "max_body": 2, "log_format": "json", "log_level": "error"}
    env = {f"MINIKMS_{name.upper()}": str(value) for name, value in values.items()}
    assert dataclasses.asdict(Config.from_mapping({**env, "PORT": "9", "PATH": "/"})) == values
    assert all(field.metadata["help"] for field in dataclasses.fields(Config))


def test_a_number_that_is_none():
    with pytest.raises(ValueError, match="abc"):
        Config.from_mapping({"MINIKMS_PORT": "abc"})


def test_it_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1
