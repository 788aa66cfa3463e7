"""URIs that name a token, its library and the file with its PIN (RFC 7512)."""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import unquote

_SCHEME: Final = "pkcs11:"
# RFC 7512 section 2.3: `pk11-pchar` of the path, then `pk11-qchar` of the query.
_COMMON: Final = r"A-Za-z0-9\-._~:\[\]@!$'()*+,=&"
_PATH_VALUE: Final = re.compile(rf"(?:[{_COMMON}]|%[0-9A-Fa-f]{{2}})+")
_QUERY_VALUE: Final = re.compile(rf"(?:[{_COMMON.replace('&', '')}/?|]|%[0-9A-Fa-f]{{2}})+")
_FILE: Final = "file:"


@dataclass(frozen=True, slots=True)
class TokenUri:
    """The parts of a URI such as `pkcs11:token=NAME?module-path=/PATH&pin-source=file:/PATH`.

    `token` is the token's label, `serial` its serial number; at least one is given. `module_path`
    is the library, and `pin_file` contains the PIN of the token's user. `object` is the label of a
    key, if the URI has one.
    """

    module_path: str
    pin_file: str
    token: str | None = None
    serial: str | None = None
    object: str | None = None

    @classmethod
    def parse(cls, uri: str, *, with_object: bool = False) -> Self:
        """Parse a URI; `with_object` requires `object`.

        Raises ValueError with a sentence that quotes no value, since a value may be a secret.
        """
        if not uri.startswith(_SCHEME):
            raise ValueError(f"The URI does not begin with {_SCHEME}.")
        path, _, query = uri.removeprefix(_SCHEME).partition("?")
        given = {"token", "serial", "object"} if with_object else {"token", "serial"}
        names = _attributes(path, ";", _PATH_VALUE, given)
        places = _attributes(query, "&", _QUERY_VALUE, {"module-path", "pin-source"})
        if not names.keys() & {"token", "serial"}:
            raise ValueError("The URI has neither token nor serial.")
        if with_object and "object" not in names:
            raise ValueError("The URI has no object.")
        source = _required(places, "pin-source")
        if not source.startswith(_FILE):
            raise ValueError("The pin-source is not a file: URI.")
        return cls(
            module_path=_absolute(_required(places, "module-path"), "module-path"),
            # RFC 8089 appendix B: an empty authority is this host.
            pin_file=_absolute(
                re.sub("^//(?=/)", "", source.removeprefix(_FILE)), "file of pin-source"
            ),
            token=names.get("token"),
            serial=names.get("serial"),
            object=names.get("object"),
        )

    def __str__(self) -> str:
        """Describe the token for an operator, such as `token "NAME", serial "1F"`."""
        given = ("token", self.token), ("serial", self.serial)
        return ", ".join(f'{name} "{value}"' for name, value in given if value)


def _attributes(
    text: str, separator: str, value_form: re.Pattern[str], known: set[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in text.split(separator) if text else ():
        name, _, value = each.partition("=")
        if name == "pin-value":
            raise ValueError("A PIN in a URI is refused: name a file by pin-source.")
        if name not in known:
            # Not the name itself: in a malformed URI it may be part of a secret.
            raise ValueError(f"The URI may have only {', '.join(sorted(known))} there.")
        if name in found:
            raise ValueError(f"The URI has {name} twice.")
        if not value_form.fullmatch(value):
            raise ValueError(f"The value of {name} is empty or has a character to be encoded.")
        try:
            found[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise ValueError(f"The value of {name} is not UTF-8.") from None
        if not found[name].isprintable():
            raise ValueError(f"The value of {name} has a character that cannot be printed.")
    return found


def _required(found: dict[str, str], name: str) -> str:
    if name not in found:
        raise ValueError(f"The URI has no {name}.")
    return found[name]


def _absolute(path: str, name: str) -> str:
    if not re.match("/(?!/)", path):
        raise ValueError(f"The {name} is not an absolute path.")
    return path
