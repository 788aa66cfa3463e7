"""How the wallet of Mini KMS takes the place of ACA-Py's, for which acapy-agent has no hook.

ACA-Py binds its wallet each time it opens a session. This is done once more behind it, for the
sessions of both kinds of profiles that it has on Askar.
"""

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, Final
from weakref import ref

from acapy_agent.askar.profile import AskarProfileSession
from acapy_agent.askar.profile_anon import AskarAnonCredsProfileSession
from acapy_agent.config.provider import ClassProvider
from acapy_agent.core.error import StartupError
from acapy_agent.wallet.base import BaseWallet

from acapy_minikms.wallet import MinikmsWallet

SESSIONS: Final = (AskarProfileSession, AskarAnonCredsProfileSession)
_SETUP: Final = "_setup"
_REPLACED: Final = "_minikms_setup"


def check_version() -> None:
    """Raise StartupError for an acapy-agent that this plugin was not made for."""
    found = version("acapy-agent")
    if found.split(".")[:2] != ["1", "7"]:
        raise StartupError(f"acapy-minikms is made for acapy-agent 1.7, and this is {found}.")
    for session in SESSIONS:
        if not callable(getattr(session, _SETUP, None)):
            raise StartupError(f"{session.__name__} of acapy-agent {found} has no {_SETUP}.")


def replace_wallets() -> None:
    """Have every session that is opened from now on bind the wallet of Mini KMS."""
    for session in SESSIONS:
        if _REPLACED not in vars(session):
            setattr(session, _REPLACED, True)
            setattr(session, _SETUP, _binding(getattr(session, _SETUP)))


def _binding(setup: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def bind(session: Any) -> None:
        await setup(session)
        provider = ClassProvider(MinikmsWallet, ref(session))
        session.context.injector.bind_provider(BaseWallet, provider)

    return bind
