"""Replaces ACA-Py's wallet by the wallet of Mini KMS; acapy-agent has no hook for this.

ACA-Py binds its wallet each time it opens a session. This module binds the wallet of Mini KMS
instead, for both kinds of ACA-Py's profiles on Askar. Before ACA-Py removes the profile of a
subwallet, this module removes its keys.
"""

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, Final
from weakref import ref

from acapy_agent.askar.profile import AskarProfile, AskarProfileSession
from acapy_agent.askar.profile_anon import AskarAnonCredsProfile, AskarAnonCredsProfileSession
from acapy_agent.config.provider import ClassProvider
from acapy_agent.core.error import StartupError
from acapy_agent.wallet.base import BaseWallet

from acapy_minikms.clients import Clients
from acapy_minikms.wallet import MinikmsWallet

SESSIONS: Final = (AskarProfileSession, AskarAnonCredsProfileSession)
PROFILES: Final = (AskarProfile, AskarAnonCredsProfile)
_SETUP: Final = "_setup"
_REMOVE: Final = "remove"
_REPLACED: Final = "_minikms_replaced"

Method = Callable[[Any], Awaitable[None]]


def check_version() -> None:
    """Raise StartupError for an unsupported version of acapy-agent."""
    found = version("acapy-agent")
    if found.split(".")[:2] != ["1", "7"]:
        raise StartupError(f"acapy-minikms is made for acapy-agent 1.7, and this is {found}.")
    for kinds, name in ((SESSIONS, _SETUP), (PROFILES, _REMOVE)):
        for kind in kinds:
            if not callable(getattr(kind, name, None)):
                raise StartupError(f"{kind.__name__} of acapy-agent {found} has no {name}.")


def replace_wallets() -> None:
    """Bind the wallet of Mini KMS in every session that is opened from now on.

    Also remove the keys of a profile together with the profile.
    """
    _replace(SESSIONS, _SETUP, _binding)
    _replace(PROFILES, _REMOVE, _removing)


def _replace(kinds: tuple[type, ...], name: str, replacement: Callable[[Method], Method]) -> None:
    for kind in kinds:
        if _REPLACED not in vars(kind):
            setattr(kind, _REPLACED, True)
            setattr(kind, name, replacement(getattr(kind, name)))


def _binding(setup: Method) -> Method:
    async def bind(session: Any) -> None:
        await setup(session)
        provider = ClassProvider(MinikmsWallet, ref(session))
        session.context.injector.bind_provider(BaseWallet, provider)

    return bind


def _removing(remove: Method) -> Method:
    async def remove_with_keys(profile: Any) -> None:
        await profile.inject(Clients).remove_keys(profile)
        await remove(profile)

    return remove_with_keys
