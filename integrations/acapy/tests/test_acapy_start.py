"""The checks of the plugin before an agent starts."""

import pytest
from acapy_agent.config.error import ArgsParseError
from acapy_agent.config.settings import Settings
from acapy_agent.core.error import StartupError

import acapy_minikms.replacement as replacement
from acapy_minikms.settings import PluginOptions


def options(**given):
    return PluginOptions.of(Settings({"plugin_config": {"acapy_minikms": given}}))


def test_another_version_of_acapy_is_refused(monkeypatch):
    replacement.check_version()
    monkeypatch.setattr(replacement, "version", lambda _: "1.8.0")
    with pytest.raises(StartupError, match=r"1\.7, and this is 1\.8\.0"):
        replacement.check_version()


def test_a_session_without_the_place_to_bind_a_wallet_is_refused(monkeypatch):
    class Other:
        pass

    monkeypatch.setattr(replacement, "SESSIONS", (Other,))
    with pytest.raises(StartupError, match="Other"):
        replacement.check_version()


def test_a_setting_that_is_not_known_is_refused():
    with pytest.raises(ArgsParseError, match="tokenfile"):
        options(tokenfile="x")
    with pytest.raises(ArgsParseError, match="wallet_id"):
        options(subwallet_profile="same-for-all")


@pytest.mark.parametrize("days", [-1, 366, "30d"])
def test_a_retention_that_mini_kms_does_not_have_is_refused(days):
    with pytest.raises(ArgsParseError, match="subwallet_retention_days"):
        options(subwallet_retention_days=days)


def test_profiles_and_tokens_of_wallets(tmp_path):
    found = options(profile="agent", token_file="token", subwallet_token_folder=str(tmp_path))
    assert found.profile_of(None) == "agent"
    assert found.profile_of("abc") == "acapy-abc"
    assert found.token_file_of(None).name == "token"
    assert found.token_file_of("abc") == tmp_path / "abc"
    assert options(token_file="token").token_file_of("abc").name == "token"
