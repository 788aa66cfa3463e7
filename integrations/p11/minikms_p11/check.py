"""Checks of `--check` beyond the options: the tokens, and the permissions of their files."""

import os
import stat
from pathlib import Path

from minikms_p11.login import Pins, check_token, read_token
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.service import Caller, Service
from minikms_p11.sidecar import Settings


async def check_tokens(settings: Settings) -> None:
    """Try each token at the service; raises ValueError for a bad one, OSError without an answer."""
    files = Pins(settings.pins).files
    if settings.token_file is not None:
        files.add(settings.token_file)
    service = Service(settings.url)
    try:
        for file in sorted(files):
            await _check(service, settings, file)
    finally:
        await service.close()


async def _check(service: Service, settings: Settings, file: Path) -> None:
    if stat.S_IMODE(file.stat().st_mode) & stat.S_IROTH:
        raise ValueError(f"{file} can be read by every user: chmod 600 {file}")
    token = read_token(file)
    refused = ""
    for profile in {slot.profile for slot in settings.slots}:
        try:
            return await check_token(service, Caller(os.getpid(), token, profile), profile)
        except Refusal as refusal:
            if isinstance(refusal, Problem) and refusal.slug == "unavailable":
                raise OSError(f"{settings.url} does not answer") from None
            refused = refusal.reason
    raise ValueError(f"the service refuses the token of {file}: {refused}")
