"""Makes an exception safe to log: its type, its place, and its message if it holds no secret."""

import traceback
from collections.abc import Iterator
from typing import Final

# Modules that call algorithms with keys and plaintexts.
_CALLING: Final = ("minikms.algorithms", "minikms.plugin", "minikms.keys", "minikms.credentials")


def loggable(exc: BaseException) -> BaseException:
    """Return `exc`, or a copy without its message if an algorithm raised it.

    The algorithm, or a library that it uses, may have put a key into the message, as
    `int(text, 16)` does. Its causes are replaced in the same way.
    """
    chain = list(_chain(exc))
    if not any(map(is_of_an_algorithm, chain)):
        return exc
    shown: BaseException | None = None
    for one in reversed(chain):
        stand_in = _without_text(one)
        if one.__cause__ is not None:
            stand_in.__cause__ = shown
        else:
            stand_in.__context__ = shown
        shown = stand_in
    return shown or exc


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, as a traceback shows them."""
    one: BaseException | None = exc
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def is_of_an_algorithm(exc: BaseException) -> bool:
    """Tell whether the innermost frame of this package is in a module that calls algorithms."""
    modules = [f.f_globals.get("__name__", "") for f, _ in traceback.walk_tb(exc.__traceback__)]
    ours = [name for name in modules if name.partition(".")[0] == "minikms"]
    return bool(ours) and ours[-1].startswith(_CALLING)


def _without_text(exc: BaseException) -> BaseException:
    """Make an exception of the same name and place, without the message."""
    kind = type(exc)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    stand_in: BaseException = type(kind.__name__, (Exception,), names)(
        "its text is not logged, since it may hold a secret"
    )
    return stand_in.with_traceback(exc.__traceback__)
