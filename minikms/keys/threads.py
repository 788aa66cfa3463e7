"""The threads in which keys are used and made."""

from functools import partial
from math import inf
from typing import Any

from minikms.basics.fair_threads import PROCESSORS, FairThreads
from minikms.errors import TooBusy
from minikms.plugin.protocol import Capability, Jwe, KeyAlgorithm


class KeyThreads:
    """The threads for keys, by the kind of work; in each, profiles take turns.

    `slow` is for single calls of some milliseconds, `long` for calls that take longer, and
    `batches` for lists. So a call waits neither for longer ones nor for batches. Long calls are
    mostly work of Python: two at a time would not be faster, and delay the event loop more.
    """

    def __init__(self) -> None:
        # Waiting for a turn takes a tenth of the time of an RSA-2048 signature. So slow calls have
        # more threads, and several wait in front of each. `--max-in-flight` limits them.
        self.slow = FairThreads(TooBusy, PROCESSORS + 4, given=8 * PROCESSORS, most=inf)
        refusal = partial(TooBusy, "Too many long calls of this profile wait.")
        self.long = FairThreads(refusal, 1, given=1)
        refusal = partial(TooBusy, "Too many batches of this profile wait.")
        self.batches = FairThreads(refusal)
        self._making: dict[tuple[str, str], FairThreads] = {}

    def making(self, kty: str, operation: str) -> FairThreads:
        """Return the threads for slow keys of a type: for "generate", or for an import.

        An RSA key can take a second of processor time, so other keys do not wait for it.
        """
        kind = kty, operation.partition("-")[0]
        if kind not in self._making:
            refusal = partial(TooBusy, "Too many keys of this kind are being made.")
            if operation == "generate":
                self._making[kind] = FairThreads(refusal, given=PROCESSORS)
            else:
                # Validating an imported RSA key holds the interpreter lock, which stops everything
                # else. So one key is validated at a time, followed by a pause of the same length.
                self._making[kind] = FairThreads(refusal, 1, given=1, rest=1)
        return self._making[kind]

    def stop(self) -> None:
        """Stop every list of work with TooBusy, at the end of its current slice."""
        for threads in (self.long, self.batches, *self._making.values()):
            threads.stop()


def is_slow(algorithm: KeyAlgorithm[Any] | Capability, operation: str) -> bool:
    """Tell whether an algorithm names an operation as slow, so that it runs in a thread."""
    slow = algorithm.slow
    return operation in slow or (
        isinstance(algorithm, Jwe) and algorithm.jwe_work.get(operation) in slow
    )
