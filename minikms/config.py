"""How one service is set up."""

from dataclasses import dataclass, field
from typing import Any, Final

from minikms.location import KEY_METHODS

ENV_PREFIX: Final = "MINIKMS_"

LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
AUTH: Final = ("auto", "none", "token")


def _option(
    default: Any,
    help_text: str,
    choices: tuple[str, ...] = (),
    limits: tuple[int, int | None] = (0, None),
    *,
    secret: bool = False,
    flag: bool = True,
) -> Any:
    facts = {"help": help_text, "choices": choices, "limits": limits, "flag": flag}
    return field(default=default, metadata=facts, repr=not secret)


@dataclass(frozen=True)
class Config:
    """The options of `minikms serve`: each field is a flag and a variable `MINIKMS_…`.

    The flags and docs are made from these fields. `flag=False` leaves the variable alone, for
    what must not stand on a command line.
    """

    host: str = _option("127.0.0.1", "Address to listen on.")
    port: int = _option(8080, "Port to listen on; 0 takes a free one.", limits=(0, 65535))
    workers: int = _option(1, "Processes that share the port.", limits=(1, None))
    max_body: int = _option(1024 * 1024, "Largest request body, in bytes.", limits=(1, None))
    log_format: str = _option("text", "One line of text or of JSON each.", LOG_FORMATS)
    log_level: str = _option("info", "Least severe level that is logged.", LOG_LEVELS)
    metrics_port: int = _option(
        0, "Port to serve /metrics on; 0 counts and serves nothing.", limits=(0, 65535)
    )
    metrics_host: str = _option("127.0.0.1", "Address to serve /metrics on.")
    max_header: int = _option(
        8192, "Longest path with query, and longest header, in bytes.", limits=(256, None)
    )
    header_timeout: int = _option(
        10, "Seconds for a request's headers to arrive.", limits=(1, None)
    )
    body_timeout: int = _option(30, "Seconds for a request's body to arrive.", limits=(1, None))
    idle_timeout: int = _option(75, "Seconds from one request to the next.", limits=(1, None))
    max_in_flight: int = _option(
        1000, "Requests under way at once, in a process.", limits=(1, None)
    )
    tls_cert: str = _option("", "File with the certificate, and those between it and the root.")
    tls_key: str = _option("", "File with its key, where the certificate's has none.")
    tls_client_ca: str = _option("", "File with the CA of clients, who then need a certificate.")
    store: str = _option(
        "memory",
        "Where keys are kept: memory, sqlite:///PATH or postgres://USER:PASSWORD@HOST:PORT/NAME.",
        secret=True,
    )
    store_key_file: str = _option("", "File with the key that opens the store.")
    store_key: str = _option("", "The key itself, where no file has it.", secret=True, flag=False)
    store_key_method: str = _option("raw", "A raw key, or a passphrase for Argon2i.", KEY_METHODS)
    cache_size: int = _option(
        10_000, "Keys, and tokens, that stay in memory, in each process; 0 for none."
    )
    cache_ttl: int = _option(
        5, "Seconds that they stay without a look at the store, on PostgreSQL."
    )
    auth: str = _option(
        "auto", "Whom to let in: auto asks for a token where the store is kept.", AUTH
    )
    admin_token_file: str = _option("", "File with a token that may do everything.")
    max_wrong_tokens: int = _option(
        60, "Wrong tokens that an address may send in a minute.", limits=(1, None)
    )
    trusted_proxy: str = _option(
        "", "Addresses of proxies whose X-Forwarded-For is believed, with commas between them."
    )
    jwt_issuer: str = _option("", "Who issues JWTs that callers send: their iss.")
    jwt_audience: str = _option("", "Whom they are for: their aud.")
    jwt_jwks: str = _option("", "File or URL of the issuer's keys, a JWK Set.")
    audit_log: str = _option("", "File in which every act is written down.")
    docs: bool = _option(True, "Serve /docs and /openapi.json.")
    seed_keys: str = _option("", "File of profiles and keys to load at the start, for tests.")
