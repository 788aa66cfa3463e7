"""Makes the log of a bug safe: its type, its place, and its text if that holds no secret."""

import traceback
from collections.abc import Iterator
from typing import Final

# The modules that call algorithms, with the keys and the plaintexts of callers.
_CALLING: Final = ("minikms.algorithms", "minikms.plugin", "minikms.keys")


def loggable(exc: BaseException) -> BaseException:
    """Return `exc`, or a stand-in without its text if an algorithm raised it.

    The algorithm, or the library below it, may have put a key into that text, as `int(text, 16)`
    does. Its causes are replaced in the same way.
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
    """An exception and its causes, as a traceback shows them."""
    one: BaseException | None = exc
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def is_of_an_algorithm(exc: BaseException) -> bool:
    """Return true if the innermost of our frames is in a module that calls algorithms."""
    modules = [f.f_globals.get("__name__", "") for f, _ in traceback.walk_tb(exc.__traceback__)]
    ours = [name for name in modules if name.partition(".")[0] == "minikms"]
    return bool(ours) and ours[-1].startswith(_CALLING)


def _without_text(exc: BaseException) -> BaseException:
    """Make an exception of the same name and place, without the text."""
    kind = type(exc)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    stand_in: BaseException = type(kind.__name__, (Exception,), names)(
        "its text is not logged, since it may hold a secret"
    )
    return stand_in.with_traceback(exc.__traceback__)
