"""The providers of a process: opens them, and calls them in threads of their own.

A provider may be away, slow, or hang for ever. Its calls use no thread that others need, and end
after a limited time, so that only its own keys feel it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

from minikms.background import in_background
from minikms.errors import KeyNotUsable, ProviderFault, ProviderUnavailable, UnsupportedOption
from minikms.events import set_provider
from minikms.keys.providers.faults import Fault
from minikms.keys.providers.threads import THREADS, Call, ProviderThreads
from minikms.keys.threads import Batches
from minikms.plugin.provider import Provider, ProviderSigner, ProviderStatus
from minikms.plugin.registry import AlgorithmRegistry

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# The most threads of a provider that batches use at a time.
_OF_BATCHES: Final = 4
# The number of calls that wait for a thread.
_WAITING: Final = 256
# A call that makes a key may take as many times as long as another: a device finds primes slowly.
_MAKING: Final = 6
# Seconds between two looks at a provider, which is opened again if it is away.
_LOOK_EVERY: Final = 2.0
# Seconds in which a provider is closed.
_CLOSING: Final = 2.0

_ELSEWHERE: Final = "It failed in another process, and is not tried again before a restart."


class RunningProvider:
    """A provider in this process: opened in the background, and called in threads of its own."""

    def __init__(
        self, name: str, provider: Provider, known: Collection[str], limit: float, fault: Fault
    ) -> None:
        self.name = name
        self._provider = provider
        self._known = known
        self._limit = limit
        self._fault = fault
        self._threads = ProviderThreads(f"provider {name}")
        self._calls: dict[Call[Any], float] = {}  # each with the time until which it may run
        self._is_open = self._is_away = self._is_final = False
        self._trouble = "It has not been opened yet."
        self._elsewhere: set[str] = set()  # tokens of which it was logged that they are missed
        self.batches = Batches(self.run, _OF_BATCHES)
        self.making = Batches(partial(self.run, making=True), _OF_BATCHES)
        self.algorithms: Collection[str] = ()
        """The algorithms of the service that it has; empty until it is open."""
        self.observe: Callable[[float], None] = lambda seconds: None
        """Called with the seconds that each call of the provider takes."""

    async def run(self, work: Callable[[], ResultT], *, making: bool = False) -> ResultT:
        """The result of `work`, in a thread of the provider; raises ProviderUnavailable.

        If it takes too long, the caller no longer waits for it, and its thread is stuck until it
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
            del call, timer  # which have the exception, whose traceback has this frame

    async def find(self) -> Collection[bytes]:
        """The identifiers of its key pairs; raises ProviderUnavailable."""
        return await self.run(self._provider.find, making=True)

    async def destroy(self, key_id: bytes, token: str) -> bool:
        """Remove a key pair from its token; tells whether it is gone. A failure is logged.

        It is not gone if another token than the one with this serial number is in place; an empty
        one stands for any.
        """
        destroy: Callable[[], bool | None] = partial(self._provider.destroy, key_id)
        if token:
            destroy = partial(self._provider.destroy_in, token, key_id)
        try:
            is_gone = await self.run(destroy) is not False
        except ProviderUnavailable:  # it is logged
            return False
        except Exception as exc:  # of a provider: its text may contain a secret
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
        """Refuse every batch under way, after its present slice at the latest."""
        self.batches.stop()
        self.making.stop()

    def require(self, algorithm: str) -> None:
        """Raise UnsupportedOption if it does not have an algorithm, ProviderUnavailable if away."""
        if not self._is_open:
            raise ProviderUnavailable(f"The provider {self.name} does not answer.")
        if algorithm not in self.algorithms:
            has = ", ".join(sorted(self.algorithms)) or "nothing"
            raise UnsupportedOption(f"The provider {self.name} has: {has}.")

    @property
    def status(self) -> ProviderStatus:
        """Its present state."""
        if self._fault.is_set() or not self._is_open:
            return ProviderStatus(available=False, detail=self._trouble)
        return self._provider.status()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep it open during the block, as far as it answers."""
        try:
            async with in_background(self._keep_open()):
                yield
        finally:
            await asyncio.wait([self._start(self._provider.close)], timeout=_CLOSING)
            self._threads.stop()

    async def _keep_open(self) -> None:
        while not self._fault.is_set():
            if not self.status.available:
                # Without a limit: while one attempt hangs, another would hang as well.
                opening = self._start(self._open)
                await asyncio.wait([opening])
                self._opened(opening)
            await asyncio.sleep(_LOOK_EVERY)
        if not self._is_away:
            self._away(_ELSEWHERE)

    def _start(self, work: Callable[[], ResultT]) -> "asyncio.Future[ResultT]":
        """Call something in a thread, without a limit; nobody has to ask for the outcome."""
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
        """Note the outcome of an attempt to open it."""
        try:
            has = opening.result()
        except ProviderUnavailable as exc:
            self._away(exc.detail, is_final=isinstance(exc, ProviderFault))
        except Exception as exc:  # of a provider: its text may contain a secret
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
        """End a call for its caller; its thread, if it has one, is stuck until it returns."""
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
        """Log that it is away, once until it answers; returns the error for callers.

        A trouble that is final is logged also if it was away before, for another reason.
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

    `limit` is the number of seconds that a call may take. `file` is the descriptor of the
    file in which the processes of a service mark faulty ones, -1 for a single process.
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
        """Keep them open during the block, as far as they answer."""
        async with AsyncExitStack() as stack:
            for provider in self:
                await stack.enter_async_context(provider.running())
            yield

    def __iter__(self) -> Iterator[RunningProvider]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> RunningProvider:
        """The provider of this name; raises KeyNotUsable if the service has none."""
        found = self._by_name.get(name)
        if found is None:
            raise KeyNotUsable(f"The service has no provider {name!r}.")
        return found

    def asked(self, name: str) -> RunningProvider:
        """The provider that a caller names; raises UnsupportedOption if the service has none."""
        found = self._by_name.get(name)
        if found is None:
            known = ", ".join(self._by_name) or "none"
            raise UnsupportedOption(f"There is no such provider. Known: {known}.")
        return found
