"""State that the applications of a service share: its AppKeys, and their types."""

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from minikms.config import Config
from minikms.http.limits import InFlight
from minikms.http.logs import AccessLogger
from minikms.http.places import Places
from minikms.http.unread import UnreadAnswers

# The status of a request whose caller left before the answer.
GONE: Final = "none"


class Shutdown:
    """The shutdown of a service: after SIGTERM, it still answers for a while.

    Once the shutdown has `begun`, each answer is the last on its connection.
    """

    def __init__(self) -> None:
        self.begun = False


class Observer:
    """Sees every request of a server and its outcome; its methods do nothing by default."""

    access_logger = AccessLogger

    def add(self, server: web.Server) -> None:
        """Add a server whose connections are counted."""

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Note an answered request, and the seconds that it took."""

    def unreadable(self, status: int) -> None:
        """Note a request that did not parse, and the status of its answer."""

    def watch(self, places: Places, expiry: Callable[[], float]) -> None:
        """Note the places for connections, and a function that returns the certificate's expiry.

        The expiry is in seconds since the epoch, 0 without TLS.
        """


CONFIG: Final = web.AppKey("config", Config)
IN_FLIGHT: Final = web.AppKey("in_flight", InFlight)
SHUTDOWN: Final = web.AppKey("shutdown", Shutdown)
UNREAD: Final = web.AppKey("unread", UnreadAnswers)
# The variables of a path by name; absent if it has none.
PARAMETERS: Final[web.RequestKey[Mapping[str, str]]] = web.RequestKey("parameters")
# The last one may choose the class of the access log.
OBSERVERS: Final[web.AppKey[list[Observer]]] = web.AppKey("observers")
