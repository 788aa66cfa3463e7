"""The service's address and the caller's identity, from arguments or the environment."""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from minikms_client.errors import InvalidSetting

DEFAULT_URL = "http://127.0.0.1:8080"
# The service accepts tokens of up to 16 KiB; white space may surround the token.
_LARGEST_TOKEN_FILE: Final = 17 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a client.

    `token_file` is read for each attempt, since its token may be replaced at any time. This costs
    little beside a call, and needs no rule for noticing a change of the file.
    """

    url: str
    profile: str | None
    token: str | None = field(repr=False)
    token_file: Path | None

    def headers(self, profile: str | None) -> dict[str, str]:
        """Return the headers of a call, with the profile and the token of the caller.

        Raises InvalidSetting if a header cannot hold them. The error does not show the token.
        """
        headers = {}
        if profile is not None:
            headers["X-Profile"] = _visible("profile", profile)
        if token := self._token():
            headers["Authorization"] = f"Bearer {_visible('token', token)}"
        return headers

    def are_renewed(self, sent: dict[str, str], profile: str | None) -> bool:
        """Tell if the token file has another token now than the headers of a refused call."""
        if self.token_file is None:
            return False
        try:
            return self.headers(profile) != sent
        except InvalidSetting:  # the refusal says more about the call
            return False

    def _token(self) -> str | None:
        return self.token if self.token_file is None else _read_token(self.token_file)


def _read_token(file: Path) -> str:
    """Return the token in a file; raises InvalidSetting, without the content of the file."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_TOKEN_FILE + 1)
    except OSError as error:
        raise InvalidSetting(f"The token file {file} cannot be read: {error.strerror}.") from error
    if len(content) > _LARGEST_TOKEN_FILE:
        raise InvalidSetting(f"The token file {file} is larger than 17 KiB.")
    if not (token := content.strip()):
        raise InvalidSetting(f"The token file {file} is empty.")
    return token.decode("latin-1")


def _visible(what: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise InvalidSetting(f"The {what} must be one line of visible ASCII characters.")
    return value


def settings(
    url: str | None,
    token: str | None,
    token_file: str | os.PathLike[str] | None,
    profile: str | None,
) -> Settings:
    """Make settings from the arguments; the environment replaces each that is None.

    In the environment, a token has precedence over a token file. Raises InvalidSetting if both are
    arguments, and for a URL that is not http or https.
    """
    if token is not None and token_file is not None:
        raise InvalidSetting("Give a token or a token file, not both.")
    if token is None and token_file is None:
        token = os.environ.get("MINIKMS_TOKEN")
        token_file = None if token else os.environ.get("MINIKMS_TOKEN_FILE")
    url = (url or os.environ.get("MINIKMS_URL") or DEFAULT_URL).rstrip("/")
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidSetting(f"The URL {url} must start with http:// or https://.")
    return Settings(
        url=url,
        profile=profile or os.environ.get("MINIKMS_PROFILE"),
        token=token or None,
        token_file=Path(token_file) if token_file else None,
    )


def tls_context(
    url: str,
    ca: str | os.PathLike[str] | None,
    cert: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None,
) -> ssl.SSLContext:
    """Make a TLS context that trusts the authorities in the file `ca`, or the system's.

    `cert` has the files of the caller's certificate and private key. The environment replaces each
    that is None. Raises InvalidSetting if the environment has only one of the two files.
    """
    ca = ca or os.environ.get("MINIKMS_CA") or None
    cert = cert or _cert_of_the_environment()
    if ca is None and cert is None and not url.lower().startswith("https://"):
        # Trusts no authority: harmless without TLS, and it saves reading the system's.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context(cafile=ca)
    if cert is not None:
        context.load_cert_chain(*cert)
    return context


def _cert_of_the_environment() -> tuple[str, str] | None:
    cert, key = os.environ.get("MINIKMS_CERT"), os.environ.get("MINIKMS_CERT_KEY")
    if cert and key:
        return cert, key
    if cert or key:
        raise InvalidSetting("A certificate needs its private key: MINIKMS_CERT, MINIKMS_CERT_KEY.")
    return None
