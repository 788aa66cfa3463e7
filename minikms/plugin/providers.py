"""The configured providers, made from the classes that entry points name."""

import inspect
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Final

from minikms.plugin.protocol import API_VERSION
from minikms.plugin.provider import Provider
from minikms.records import MAX_PROVIDER
from minikms.startup_errors import PluginError, ProviderError, one_line

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
    entry = next(iter(entry_points(group=GROUP, name=scheme)), None)
    if entry is None:
        raise ProviderError(
            f"The provider {name!r} has a URI whose scheme no installed package takes."
        )
    try:
        kind = entry.load()
    except Exception as exc:
        raise PluginError(f"The provider {scheme} cannot be loaded: {one_line(exc)}.") from exc
    if not (inspect.isclass(kind) and issubclass(kind, Provider)):
        raise PluginError(f"The provider {scheme} is not a subclass of Provider.")
    if kind.api_version > API_VERSION:
        raise PluginError(
            f"The provider {scheme} is for version {kind.api_version} of minikms.plugin, and this "
            f"service has version {API_VERSION}: update Mini KMS."
        )
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise PluginError(f"The provider {scheme} lacks: {missing}.")
    try:
        return kind(uri)
    except ValueError as exc:
        raise ProviderError(f"The URI of the provider {name!r} is not valid: {exc}") from None
