"""How one service is set up."""

from dataclasses import dataclass, field
from typing import Any, Final

ENV_PREFIX: Final = "MINIKMS_"

LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def _option(
    default: Any,
    help_text: str,
    choices: tuple[str, ...] = (),
    limits: tuple[int, int | None] = (0, None),
) -> Any:
    facts = {"help": help_text, "choices": choices, "limits": limits}
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class Config:
    """The options of `minikms serve`: each field is a flag and a variable `MINIKMS_…`.

    The flags and docs are made from these fields; a secret would have `repr=False`.
    """

    host: str = _option("127.0.0.1", "Address to listen on.")
    port: int = _option(8080, "Port to listen on; 0 takes a free one.", limits=(0, 65535))
    max_body: int = _option(1024 * 1024, "Largest request body, in bytes.", limits=(1, None))
    log_format: str = _option("text", "One line of text or of JSON each.", LOG_FORMATS)
    log_level: str = _option("info", "Least severe level that is logged.", LOG_LEVELS)
