"""State that the applications of a service share: their keys (AppKey), and two small types."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aiohttp import web

from minikms.config import Config
from minikms.http.acceptor import Places
from minikms.http.limits import InFlight
from minikms.http.logs import AccessLogger
from minikms.http.unread import UnreadAnswers

# The status of a request whose caller was gone before its answer.
GONE: Final = "none"


class Shutdown:
    """The time between SIGTERM and the end of a service, in which it still answers.

    Once it has `begun`, each answer is the last on its connection.
    """

    def __init__(self) -> None:
        self.begun = False


class Observer(Protocol):
    """Sees every request of a server and its outcome, for metrics."""

    def add(self, server: web.Server) -> None:
        """Learn of a server, to count its connections."""

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Learn of a request that was answered, and after how many seconds."""

    def unreadable(self, status: int) -> None:
        """Learn of a request that did not parse, and was answered with this status."""

    def watch(self, places: Places, expiry: Callable[[], float]) -> None:
        """Learn of the places for connections, and when the certificate of the ports expires.

        That is in seconds since the epoch, 0 without TLS.
        """


class Observers:
    """Several observers as one, which has the access logger of the last."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self.access_logger: Any = getattr(observers[-1], "access_logger", AccessLogger)

    def add(self, server: web.Server) -> None:
        """Tell all of a server."""
        for each in self._observers:
            each.add(server)

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Tell all of an answer."""
        for each in self._observers:
            each.answered(request, status, seconds)

    def unreadable(self, status: int) -> None:
        """Tell all of a request that did not parse."""
        for each in self._observers:
            each.unreadable(status)

    def watch(self, places: Places, expiry: Callable[[], float]) -> None:
        """Tell all of places and the certificate."""
        for each in self._observers:
            each.watch(places, expiry)


CONFIG: Final = web.AppKey("config", Config)
IN_FLIGHT: Final = web.AppKey("in_flight", InFlight)
SHUTDOWN: Final = web.AppKey("shutdown", Shutdown)
UNREAD: Final = web.AppKey("unread", UnreadAnswers)
# The variables of a path, by name; missing without any.
PARAMETERS: Final[web.RequestKey[Mapping[str, str]]] = web.RequestKey("parameters")
# Missing without metrics.
OBSERVER: Final[web.AppKey[Observer]] = web.AppKey("observer")
