"""Seals a store key by several seals, and opens it by the first seal that works."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from threading import Thread
from typing import Final, ParamSpec, TypeAlias, TypeVar

from minikms.seals.envelope import MOST_SEALS, Envelope, SealedKey, new_id
from minikms.seals.registry import make_seal
from minikms.seals.seal import SealFault, SealUnavailable
from minikms.startup_errors import SealError, SetupError, StoreError

LOGGER = logging.getLogger(__name__)

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

OPENED: Final = "opened"
FAILED: Final = "failed"
NOT_ASKED: Final = "not-asked"

# The kind of each seal, in the order of the file, and one of the three states.
SealStates: TypeAlias = tuple[tuple[str, str], ...]

# In seconds: the pause between two tries, and the time limit of one call of a seal.
_PAUSE: Final = 2.0
_LIMIT: Final = 15.0

# Calls that did not return within the limit, by sealed key.
_Hanging: TypeAlias = dict[SealedKey, Future[bytes]]

# The longest store key to seal, in bytes, so that an envelope fits into the largest key file.
_MOST: Final = 2048


@dataclass(frozen=True)
class Unsealed:
    """A store key opened by a seal, and the states of all its seals."""

    secret: str = field(repr=False)
    seals: SealStates


def seal(secret: str, uris: Sequence[str]) -> Envelope:
    """Seal a store key by the seals with these URIs, and open each result once as a check.

    Raises StoreError unless every seal works.
    """
    if len(set(uris)) < len(uris) or len(uris) > MOST_SEALS:
        raise StoreError(f"A store key has up to {MOST_SEALS} seals, each named once.")
    if len(secret.encode()) > _MOST:
        raise StoreError(f"A store key of more than {_MOST:,} bytes cannot be sealed.")
    envelope = Envelope(new_id(secret), ())
    for uri in uris:
        shown = SealedKey(uri, b"").shown
        made = make_seal(uri)
        try:
            call = _begin(made.seal, secret.encode(), envelope.associated_data)
            sealed = SealedKey(uri, _result(call))
            _open(sealed, envelope, {})
        except SealUnavailable as exc:
            raise StoreError(f"{shown} does not seal the store key: {_cause(exc)}.") from None
        envelope = envelope._replace(keys=(*envelope.keys, sealed))
    return envelope


def unseal(envelope: Envelope, file: str, wait: float) -> Unsealed:
    """Open the store key of a key file's envelope by the first seal that works.

    Unavailable seals are retried for `wait` seconds. Raises StoreError, and SealError if a seal
    must not be retried.
    """
    deadline = time.monotonic() + wait
    left, failed, told = list(envelope.keys), dict[SealedKey, str](), ""
    hanging: _Hanging = {}
    while True:
        away = dict[SealedKey, str]()
        for sealed in tuple(left):
            try:
                secret = _open(sealed, envelope, hanging)
            except SealFault as exc:
                left.remove(sealed)
                failed[sealed] = _cause(exc)
            except SealUnavailable as exc:
                away[sealed] = _cause(exc)
            else:
                if others := failed | away:
                    shown = _listed(others)
                    LOGGER.warning("%s opened the store key, but not %s", sealed.shown, shown)
                else:
                    LOGGER.info("%s opened the store key", sealed.shown)
                states = {**dict.fromkeys(others, FAILED), sealed: OPENED}
                return Unsealed(
                    secret, tuple((key.kind, states.get(key, NOT_ASKED)) for key in envelope.keys)
                )
        causes = _listed(failed | away)
        pause = min(_PAUSE, deadline - time.monotonic())
        if not away or pause <= 0:
            kind = SealError if failed else StoreError
            raise kind(f"No seal opens the store key in {file}: {causes}.")
        if causes != told:
            LOGGER.warning("no seal opens the store key; tried again: %s", causes)
            told = causes
        time.sleep(pause)


def faults(envelope: Envelope) -> dict[SealedKey, str]:
    """Open a store key by each of its seals; return the cause of each failure, "" for success."""
    causes = {}
    for sealed in envelope.keys:
        try:
            _open(sealed, envelope, {})
        except SealUnavailable as exc:
            causes[sealed] = _cause(exc)
        else:
            causes[sealed] = ""
    return causes


def _open(sealed: SealedKey, envelope: Envelope, hanging: _Hanging) -> str:
    """Open the store key of an envelope by a seal; raises SealUnavailable and SealFault.

    A call in `hanging` is waited for again. A second call could also hang, or use up an attempt of
    a PIN.
    """
    try:
        made = make_seal(sealed.uri)
    except SetupError as exc:
        raise SealFault(str(exc)) from None
    call = hanging.pop(sealed, None) or _begin(
        made.unseal, sealed.ciphertext, envelope.associated_data
    )
    try:
        secret = str(_result(call), "utf-8")
        is_key = envelope.fits(secret)
    except (TypeError, UnicodeDecodeError):  # a plugin may return anything
        is_key = False
    finally:
        if not call.done():
            hanging[sealed] = call
    if not is_key:
        raise SealFault("It opens something else, not the store key.")
    return secret


def _begin(work: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs) -> Future[ResultT]:
    """Call a seal in a thread, which is abandoned if it hangs."""
    call = Future[ResultT]()

    def run() -> None:
        try:
            call.set_result(work(*args, **kwargs))
        except BaseException as exc:  # for the waiting thread
            call.set_exception(exc)

    Thread(target=run, name="seal", daemon=True).start()
    return call


def _result(call: Future[ResultT]) -> ResultT:
    """Wait for the result of a call; raises SealUnavailable and SealFault."""
    if not wait_for([call], _LIMIT).done:
        raise SealUnavailable(f"It does not answer within {_LIMIT:.0f} seconds.")
    try:
        return call.result()
    except SealUnavailable:
        raise
    except Exception as exc:  # a plugin's bug; the error's message may contain a secret
        raise SealFault(f"It failed with {type(exc).__name__}.") from exc


def _listed(causes: Mapping[SealedKey, str]) -> str:
    """List seals, each with its cause, as part of a sentence."""
    return "; ".join(f"{sealed.shown}: {cause}" for sealed, cause in causes.items())


def _cause(exc: SealUnavailable) -> str:
    """Turn the sentence of an error into part of another sentence."""
    return " ".join(str(exc).split()).rstrip(".")
