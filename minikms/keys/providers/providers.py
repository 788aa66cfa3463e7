"""Opens the providers of a process, and calls them in threads of their own.

A provider may be away, be slow, or hang for ever. This affects only its own keys, since its calls
use threads of their own, and end for their callers after a time limit.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

from minikms.basics.background import in_background
from minikms.basics.fair_threads import FairThreads
from minikms.errors import (
    KeyNotUsable,
    ProviderFault,
    ProviderUnavailable,
    TooBusy,
    UnsupportedOption,
)
from minikms.events import set_provider
from minikms.keys.providers.faults import Fault
from minikms.keys.providers.threads import THREADS, Call, ProviderThreads
from minikms.plugin.provider import Provider, ProviderSigner, ProviderStatus
from minikms.plugin.registry import AlgorithmRegistry

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# The most threads of a provider that batches use at a time.
_OF_BATCHES: Final = 4
# The most calls that wait for a thread.
_WAITING: Final = 256
# A call that makes a key has so many times the time limit of other calls: devices find primes
# slowly.
_MAKING: Final = 6
# Seconds between two checks of a provider; if it is away, it is opened again.
_LOOK_EVERY: Final = 2.0
# Seconds that closing a provider may take.
_CLOSING: Final = 2.0

_ELSEWHERE: Final = "It failed in another process, and is not tried again before a restart."


class RunningProvider:
    """Opens a provider in the background, and calls it in threads of its own."""

    def __init__(
        self, name: str, provider: Provider, known: Collection[str], limit: float, fault: Fault
    ) -> None:
        self.name = name
        self._provider = provider
        self._known = known
        self._limit = limit
        self._fault = fault
        self._threads = ProviderThreads(f"provider {name}")
        self._calls: dict[Call[Any], float] = {}  # the time limit of each
        self._is_open = self._is_away = self._is_final = False
        self._trouble = "It has not been opened yet."
        self._elsewhere: set[str] = set()  # tokens that were logged as missing
        refusal = partial(TooBusy, "Too many batches of this profile wait.")
        self.batches = FairThreads(refusal, given=_OF_BATCHES, in_thread=self.run)
        making = partial(self.run, making=True)
        self.making = FairThreads(refusal, given=_OF_BATCHES, in_thread=making)
        self.algorithms: Collection[str] = ()
        """The names of the service's algorithms that it supports; empty until it is open."""
        self.observe: Callable[[float], None] = lambda seconds: None
        """A callback that gets the duration of each call in seconds."""

    async def run(self, work: Callable[[], ResultT], *, making: bool = False) -> ResultT:
        """Call `work` in a thread of the provider, and return its result.

        Raises ProviderUnavailable, also after the time limit: then the thread is stuck until `work`
        returns.
        """
        set_provider(self.name)
        if not self._is_open or self._fault.is_set():
            raise ProviderUnavailable(f"The provider {self.name} does not answer.")
        now = time.monotonic()
        if len(self._calls) >= THREADS:
            stuck = sum(until <= now and call.has_begun for call, until in self._calls.items())
            if stuck >= THREADS or len(self._calls) - stuck >= _WAITING:
                raise ProviderUnavailable(f"Too many calls of the provider {self.name} wait.")
        limit = self._limit * (_MAKING if making else 1)
        call = Call(partial(self._timed, work), self._ended)
        self._calls[call] = now + limit
        self._threads.submit(call)
        timer = asyncio.get_running_loop().call_later(limit, self._leave, call)
        try:
            return await call.outcome
        finally:
            timer.cancel()
            del call, timer  # they refer to the exception, and its traceback to this frame

    async def find(self) -> Collection[bytes]:
        """List the identifiers of its key pairs; raises ProviderUnavailable."""
        return await self.run(self._provider.find, making=True)

    async def destroy(self, key_id: bytes, token: str) -> bool:
        """Remove a key pair from its token; returns whether it is gone. A failure is logged.

        The key pair is not gone if the token with the serial number `token` is not in place. An
        empty `token` stands for any token.
        """
        destroy: Callable[[], bool | None] = partial(self._provider.destroy, key_id)
        if token:
            destroy = partial(self._provider.destroy_in, token, key_id)
        try:
            is_gone = await self.run(destroy) is not False
        except ProviderUnavailable:  # already logged
            return False
        except Exception as exc:  # a provider's message may contain a secret
            what, name = key_id.hex(), type(exc).__name__
            LOGGER.error("the provider %s cannot destroy the object %s: %s", self.name, what, name)
            return False
        if not is_gone and token not in self._elsewhere:
            self._elsewhere.add(token)
            LOGGER.warning(
                "objects are left at the token %s of the provider %s: another token is in place",
                token,
                self.name,
            )
        return is_gone

    def stop_batches(self) -> None:
        """Stop every running batch with TooBusy, at the end of its current slice."""
        self.batches.stop()
        self.making.stop()

    def require(self, algorithm: str) -> None:
        """Raise UnsupportedOption without this algorithm, and ProviderUnavailable if it is away."""
        if not self._is_open:
            raise ProviderUnavailable(f"The provider {self.name} does not answer.")
        if algorithm not in self.algorithms:
            has = ", ".join(sorted(self.algorithms)) or "nothing"
            raise UnsupportedOption(f"The provider {self.name} has: {has}.")

    @property
    def status(self) -> ProviderStatus:
        if self._fault.is_set() or not self._is_open:
            return ProviderStatus(available=False, detail=self._trouble)
        return self._provider.status()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the provider open during the block, and open it again whenever it was away."""
        try:
            async with in_background(self._keep_open()):
                yield
        finally:
            await asyncio.wait([self._start(self._provider.close)], timeout=_CLOSING)
            self._threads.stop()

    async def _keep_open(self) -> None:
        while not self._fault.is_set():
            if not self.status.available:
                # Without a time limit: if one attempt hangs, another would hang as well.
                opening = self._start(self._open)
                await asyncio.wait([opening])
                self._opened(opening)
            await asyncio.sleep(_LOOK_EVERY)
        if not self._is_away:
            self._away(_ELSEWHERE)

    def _start(self, work: Callable[[], ResultT]) -> "asyncio.Future[ResultT]":
        """Call `work` in a thread, without a time limit; the outcome may be ignored."""
        call = Call(work, Call.end)
        self._threads.submit(call)
        return call.outcome

    def _open(self) -> frozenset[str]:
        with self._fault.in_turn():
            if self._fault.is_set():
                raise ProviderFault(_ELSEWHERE)
            try:
                self._provider.open()
                return self._provider.algorithms()
            except ProviderFault:
                self._fault.set()
                raise

    def _opened(self, opening: "asyncio.Future[frozenset[str]]") -> None:
        """Record the outcome of an attempt to open the provider."""
        try:
            has = opening.result()
        except ProviderUnavailable as exc:
            self._away(exc.detail, is_final=isinstance(exc, ProviderFault))
        except Exception as exc:  # a provider's message may contain a secret
            self._away(f"It failed with {type(exc).__name__}.")
        else:
            self.algorithms = [name for name in self._known if name in has]
            self._is_open = True
            self._answers()

    def _timed(self, work: Callable[[], ResultT]) -> ResultT:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.observe(time.perf_counter() - began)

    def _leave(self, call: "Call[Any]") -> None:
        """End a call for its caller; if it has begun, its thread is stuck until it returns."""
        call.end(None, self._away("It does not answer in time."))
        if not call.has_begun:
            del self._calls[call]

    def _ended(self, call: "Call[Any]", result: Any, failure: BaseException | None) -> None:
        self._calls.pop(call, None)
        is_final = isinstance(failure, ProviderFault)
        if is_final:
            self._fault.set()
        if isinstance(failure, ProviderUnavailable):
            self._away(failure.detail, is_final=is_final)
        elif failure is None:
            self._answers()
        call.end(result, failure)

    def _away(self, trouble: str, *, is_final: bool = False) -> ProviderUnavailable:
        """Log that the provider is away, once until it answers; returns the error for callers.

        Final trouble is also logged if the provider was away before for another reason.
        """
        self._trouble = trouble
        if not self._is_away or (is_final and not self._is_final):
            self._is_away, self._is_final = True, is_final
            LOGGER.warning("the provider %s is not available: %s", self.name, trouble)
        return ProviderUnavailable(f"The provider {self.name} does not answer.")

    def _answers(self) -> None:
        if self._is_away:
            self._is_away = False
            LOGGER.warning("the provider %s is available again", self.name)


class Providers:
    """The providers of a process by name.

    `limit` is the time limit of a call in seconds. `file` is the descriptor of the file in which
    the processes of a service mark faulty providers, or -1 for a single process.
    """

    def __init__(self, registry: AlgorithmRegistry, *, limit: float = 10, file: int = -1) -> None:
        known = [
            each.algorithm.name for each in registry if isinstance(each.algorithm, ProviderSigner)
        ]
        self._by_name: Mapping[str, RunningProvider] = {
            name: RunningProvider(name, provider, known, limit, Fault(file, place))
            for place, (name, provider) in enumerate(registry.providers.items())
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep all providers open during the block, and open them again whenever they were away."""
        async with AsyncExitStack() as stack:
            for provider in self:
                await stack.enter_async_context(provider.running())
            yield

    def __iter__(self) -> Iterator[RunningProvider]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> RunningProvider:
        """Find a provider by name; raises KeyNotUsable if the service does not have it."""
        found = self._by_name.get(name)
        if found is None:
            raise KeyNotUsable(f"The service has no provider {name!r}.")
        return found

    def asked(self, name: str) -> RunningProvider:
        """Find a caller's provider; raises UnsupportedOption if the service does not have it."""
        found = self._by_name.get(name)
        if found is None:
            known = ", ".join(self._by_name) or "none"
            raise UnsupportedOption(f"There is no such provider. Known: {known}.")
        return found
