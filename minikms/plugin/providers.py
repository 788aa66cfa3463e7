"""The configured providers, made from the classes that entry points name."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from minikms.basics.plugin_classes import class_named
from minikms.key_bounds import MAX_PROVIDER
from minikms.plugin.protocol import API_VERSION
from minikms.plugin.provider import Provider
from minikms.startup_errors import ProviderError

GROUP: Final = "minikms.providers"

_NAME: Final = re.compile(rf"[a-z][a-z0-9-]{{0,{MAX_PROVIDER - 1}}}")


def make_providers(options: Iterable[str]) -> Mapping[str, Provider]:
    """Make the providers of `--provider`, each NAME=URI, by name, without opening them.

    Raises ProviderError, and PluginError for a class that cannot be used.
    """
    providers: dict[str, Provider] = {}
    for option in options:
        name, _, uri = option.partition("=")
        # A URI may have a PIN, so it is never shown.
        if not _NAME.fullmatch(name) or not uri:
            raise ProviderError(
                "--provider takes NAME=URI; a name has lower-case letters, digits and hyphens."
            )
        if name in providers:
            raise ProviderError(f"Two providers have the name {name!r}.")
        providers[name] = _make(name, uri)
    return providers


def _make(name: str, uri: str) -> Provider:
    scheme = uri.partition(":")[0]
    kind = class_named(GROUP, scheme, Provider, api_version=API_VERSION)
    if kind is None:
        raise ProviderError(
            f"The provider {name!r} has a URI whose scheme no installed package takes."
        )
    try:
        return kind(uri)
    except ValueError as exc:
        raise ProviderError(f"The URI of the provider {name!r} is not valid: {exc}") from None
