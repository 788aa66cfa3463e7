"""The handler of the audit log: search."""

from collections.abc import Collection
from contextlib import suppress

from minikms.audit.query import OwnLines, Query
from minikms.errors import ProfileNotFound
from minikms.events import SUCCESS
from minikms.http.answers import Answer
from minikms.http.gate import GatedCall
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.web.messages import named_profile, paged, service
from minikms.web.parameters import DEFAULT_LIMIT
from minikms.web.schemas.audit_bodies import AuditEvent
from minikms.web.state import AUDIT_SEARCH

_EVENT = AuditEvent()


async def list_events(
    call: GatedCall,
    kid: str | None = None,
    alias: str | None = None,
    who: str | None = None,
    operation: str | None = None,
    outcome: str | None = None,
    profile: str | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int = DEFAULT_LIMIT,
    after: str = "",
) -> Answer:
    """List the events of the audit log, newest first, by page."""
    audit, own = call.request.app[AUDIT_SEARCH], call.caller
    if alias is not None:
        own.require("keys:read")  # the events show which keys the alias has named
        profile = named_profile(call.request) if profile is None else profile
    names = own.profiles if profile is None else {profile}
    if profile is not None and own.profiles is not None:
        call.enter(profile)
    profiles = None if names is None else await _own_lines(call, names)
    kids = None if kid is None else {kid}
    if alias is not None and profile is not None:
        named = {*(await service(call).aliases.versions(profile, alias)).kids.values()}
        kids = named if kids is None else kids & named
    if audit is None or profiles == {} or kids == set():
        return _EVENT.encode([], many=True)
    query = Query(
        kids=kids,
        who=who,
        operation=operation,
        outcome=SUCCESS if outcome == "ok" else outcome,
        profiles=profiles,
        admitted=own.profiles is not None,
        since=since,
        until=until,
    )
    found, following = await audit.page(query, limit, after, own.name)
    body = _EVENT.encode([each.members for each in found], many=True)
    if not following:
        return body
    given = [pair for pair in call.request.query.items() if pair[0] not in ("limit", "after")]
    given += [("limit", str(limit)), ("after", following)]
    return paged(call, body, given)


async def _own_lines(call: GatedCall, profiles: Collection[str]) -> dict[str, OwnLines | None]:
    """The lines of existing profiles that the caller may see.

    An earlier profile with the same name may have belonged to another tenant. The default profile
    is never removed, and an operator sees all lines of a name.
    """
    own, found = call.caller, dict[str, OwnLines | None]()
    for name in profiles:
        if own.profiles is None or name == DEFAULT_PROFILE:
            found[name] = None
            continue
        with suppress(ProfileNotFound):
            tenancy = await service(call).profiles.tenancy(name)
            # Without a time that is known, and true, no line without an id counts.
            is_timed = tenancy.created and not tenancy.has_bound_tokens
            found[name] = OwnLines(tenancy.id or "", tenancy.created if is_timed else None)
    return found
