"""Seals a store key by several seals, and opens it by the first that works."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Final, ParamSpec, TypeVar

from minikms.seals.envelope import MOST_SEALS, Envelope, SealedKey, new_id
from minikms.seals.registry import make_seal
from minikms.seals.seal import SealFault, SealUnavailable
from minikms.startup_errors import SetupError, StoreError

LOGGER = logging.getLogger(__name__)

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

# In seconds: between two tries, and for one call of a seal.
_PAUSE: Final = 2.0
_LIMIT: Final = 15.0

# In bytes, so that an envelope fits into the largest key file.
_MOST: Final = 2048


def seal(secret: str, uris: Sequence[str]) -> Envelope:
    """Seal a store key by the seals with these URIs, and open each once to compare.

    Raises StoreError unless every seal works.
    """
    if len(set(uris)) < len(uris) or len(uris) > MOST_SEALS:
        raise StoreError(f"A store key has up to {MOST_SEALS} seals, each named once.")
    if len(secret.encode()) > _MOST:
        raise StoreError(f"A store key of more than {_MOST:,} bytes cannot be sealed.")
    envelope = Envelope(new_id(), ())
    for uri in uris:
        shown = SealedKey(uri, b"").shown
        made = make_seal(uri)
        try:
            ciphertext = _call(made.seal, secret.encode(), envelope.associated_data)
            sealed = SealedKey(uri, ciphertext)
            opened = _open(sealed, envelope.associated_data)
        except SealUnavailable as exc:
            raise StoreError(f"{shown} does not seal the store key: {_cause(exc)}.") from None
        if opened != secret:
            raise StoreError(f"{shown} does not give back the store key that it has sealed.")
        envelope = envelope._replace(keys=(*envelope.keys, sealed))
    return envelope


def unseal(envelope: Envelope, file: str, wait: float) -> str:
    """Return the store key of the envelope in a file, by the first seal that opens it.

    Seals that are away are tried again for `wait` seconds. Raises StoreError.
    """
    deadline = time.monotonic() + wait
    left, faults, told = list(envelope.keys), list[str](), ""
    while True:
        away = []
        for sealed in tuple(left):
            try:
                secret = _open(sealed, envelope.associated_data)
            except SealFault as exc:
                left.remove(sealed)
                faults.append(f"{sealed.shown}: {_cause(exc)}")
            except SealUnavailable as exc:
                away.append(f"{sealed.shown}: {_cause(exc)}")
            else:
                if others := "; ".join((*faults, *away)):
                    LOGGER.warning("%s opened the store key, and not %s", sealed.shown, others)
                else:
                    LOGGER.info("%s opened the store key", sealed.shown)
                return secret
        causes = "; ".join((*faults, *away))
        pause = min(_PAUSE, deadline - time.monotonic())
        if not away or pause <= 0:
            raise StoreError(f"No seal opens the store key in {file}: {causes}.")
        if causes != told:
            LOGGER.warning("no seal opens the store key; tried again: %s", causes)
            told = causes
        time.sleep(pause)


def faults(envelope: Envelope) -> dict[SealedKey, str]:
    """Open a store key by each of its seals; return the cause if one fails, and "" if not."""
    causes = {}
    for sealed in envelope.keys:
        try:
            _open(sealed, envelope.associated_data)
        except SealUnavailable as exc:
            causes[sealed] = _cause(exc)
        else:
            causes[sealed] = ""
    return causes


def _open(sealed: SealedKey, associated_data: bytes) -> str:
    """Open a store key by its seal; raises SealUnavailable, and SealFault."""
    try:
        made = make_seal(sealed.uri)
    except SetupError as exc:
        raise SealFault(str(exc)) from None
    try:
        return _call(made.unseal, sealed.ciphertext, associated_data).decode()
    except UnicodeDecodeError:
        raise SealFault("It opens something else than a store key.") from None


def _call(work: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs) -> ResultT:
    """Call a seal in a thread, which is left behind if it hangs; raises SealFault then."""
    result = Future[ResultT]()

    def run() -> None:
        try:
            result.set_result(work(*args, **kwargs))
        except BaseException as exc:  # for the waiting thread
            result.set_exception(exc)

    Thread(target=run, name="seal", daemon=True).start()
    try:
        return result.result(_LIMIT)
    except SealUnavailable:
        raise
    except TimeoutError:
        raise SealFault(f"It does not answer within {_LIMIT:.0f} seconds.") from None
    except Exception as exc:  # a fault of a plugin, whose text may have a secret
        raise SealFault(f"It failed with {type(exc).__name__}.") from exc


def _cause(exc: SealUnavailable) -> str:
    """The sentence of an error, as a part of another one."""
    return " ".join(str(exc).split()).rstrip(".")
