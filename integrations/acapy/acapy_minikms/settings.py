"""The settings of the plugin: the address of Mini KMS, and profile and token of each wallet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from acapy_agent.config.base import BaseSettings
from acapy_agent.config.error import ArgsParseError
from acapy_agent.config.plugin_settings import PluginSettings

PLUGIN = "acapy_minikms"
MAX_RETENTION_DAYS = 365
_NAMES = frozenset(
    {
        "url",
        "token_file",
        "profile",
        "subwallet_profile",
        "subwallet_token_folder",
        "subwallet_retention_days",
        "ca",
    }
)


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """The values of `--plugin-config-value acapy_minikms.NAME=VALUE`, None if not given.

    `profile` and `token_file` are for the agent's own wallet. `subwallet_profile` is the pattern of
    subwallets' profiles, with `{wallet_id}` in it. `subwallet_token_folder` has a file, named by
    the wallet id, for each subwallet with its own token. The keys of a removed subwallet can be
    restored for `subwallet_retention_days`.
    """

    url: str | None = None
    token_file: Path | None = None
    profile: str | None = None
    subwallet_profile: str = "acapy-{wallet_id}"
    subwallet_token_folder: Path | None = None
    subwallet_retention_days: int = 0
    ca: Path | None = None

    @classmethod
    def of(cls, settings: BaseSettings) -> Self:
        """Read the options from the settings of an agent; raises ArgsParseError."""
        given: Mapping[str, Any] = PluginSettings.for_plugin(settings, PLUGIN).to_dict()
        if unknown := given.keys() - _NAMES:
            raise ArgsParseError(f"{PLUGIN} has no setting {sorted(unknown)[0]}.")
        options = dict(given)
        for name in options.keys() & {"token_file", "subwallet_token_folder", "ca"}:
            options[name] = Path(options[name])
        if "{wallet_id}" not in options.get("subwallet_profile", "{wallet_id}"):
            raise ArgsParseError("subwallet_profile must have {wallet_id} in it.")
        days = str(options.setdefault("subwallet_retention_days", 0))
        if not (days.isdecimal() and int(days) <= MAX_RETENTION_DAYS):
            raise ArgsParseError(f"subwallet_retention_days is 0 to {MAX_RETENTION_DAYS}.")
        options["subwallet_retention_days"] = int(days)
        return cls(**options)

    def profile_of(self, wallet_id: str | None) -> str | None:
        """Return the profile of a subwallet, or of the agent's own wallet."""
        if wallet_id is None:
            return self.profile
        return self.subwallet_profile.replace("{wallet_id}", wallet_id)

    def token_file_of(self, wallet_id: str | None) -> Path | None:
        """Return the file with a wallet's token: its own file, else the agent's."""
        if wallet_id is not None and self.subwallet_token_folder is not None:
            return self.subwallet_token_folder / wallet_id
        return self.token_file


def wallet_id_of(settings: Mapping[str, Any]) -> str | None:
    """Return the id of the subwallet of these settings, None for the agent's own wallet."""
    found = settings.get("wallet.id")
    return str(found) if found else None
