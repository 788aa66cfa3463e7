"""Signers written for version 1 of minikms.plugin, whose options were arguments."""

import inspect
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

# The parameters of each method in version 1, `self`, `alg` and `prehashed` among them.
_PARAMETERS: Final = {"sign": 5, "sign_many": 5, "verify": 6}


def take_old_arguments(cls: type) -> None:
    """Let methods of a new class that expect `alg` and `prehashed` take SignatureOptions."""
    for name, number in _PARAMETERS.items():
        method = vars(cls).get(name)
        if method is not None and len(inspect.signature(method).parameters) == number:
            warnings.warn(
                f"{cls.__qualname__}.{name} takes alg and prehashed; since Mini KMS 0.3 it takes "
                "one SignatureOptions, and from 0.5 on nothing else",
                DeprecationWarning,
                stacklevel=4,
            )
            setattr(cls, name, _with_options(method))


def _with_options(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any) -> Any:
        *others, last = args
        if isinstance(last, bool):  # called by another method of the same plugin
            return method(*args)
        return method(*others, last.alg, last.prehashed)

    return call
