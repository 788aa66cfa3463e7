"""Keys at rest, in Askar: the names that other wings may use.

Only this wing opens sessions; others give it work for one. Commands on whole stores also import
`minikms.store.internals`.
"""

from minikms.store.approval_checks import Proof, Proven
from minikms.store.askar.errors import CAUSES, DuplicateError, UndecryptableError
from minikms.store.askar.files import last_backup
from minikms.store.askar.location import KEY_METHODS, StoreKey, StoreLocation
from minikms.store.askar.sequence import CONTENTS
from minikms.store.askar.sessions import Entry, Session, TagFilter, Transaction
from minikms.store.askar.stores import new_raw_key
from minikms.store.cache import DEFAULT_MEMORY, NOTHING, Bounds, Cache, PendingEntry
from minikms.store.categories import ALIAS, KEY, PROFILE, TOKENS
from minikms.store.connections.calls import KINDS
from minikms.store.connections.counters import ChangeCounters
from minikms.store.database import Database
from minikms.store.keys.approvals import (
    ApprovalEvent,
    Checked,
    GuardedUse,
    UnapprovedError,
    Waiting,
)
from minikms.store.keys.checks import Check, CheckVersions, no_check, no_check_of_versions
from minikms.store.keys.day_leases import lease_uses
from minikms.store.keys.due_entries import POSTPONED, NotDueError
from minikms.store.keys.entries import alias_entry
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.last_use import LastUses
from minikms.store.keys.provider_objects import ProviderObject
from minikms.store.keys.rotation import NotRotatableError, Successor
from minikms.store.keys.use_times import groups_of
from minikms.store.profiles import token_entries
from minikms.store.profiles.directory import ProfileDirectory
from minikms.store.profiles.publication import publish, publishes
from minikms.store.profiles.removals import RemovedProfile
from minikms.store.profiles.tenancy import Tenancy
from minikms.store.sweeps import LEASE, Sweeps

__all__ = [
    "ALIAS",
    "CAUSES",
    "CONTENTS",
    "DEFAULT_MEMORY",
    "KEY",
    "KEY_METHODS",
    "KINDS",
    "LEASE",
    "NOTHING",
    "POSTPONED",
    "PROFILE",
    "TOKENS",
    "ApprovalEvent",
    "Bounds",
    "Cache",
    "ChangeCounters",
    "Check",
    "CheckVersions",
    "Checked",
    "Database",
    "DuplicateError",
    "Entry",
    "GuardedUse",
    "KeyStore",
    "LastUses",
    "NotDueError",
    "NotRotatableError",
    "PendingEntry",
    "ProfileDirectory",
    "Proof",
    "Proven",
    "ProviderObject",
    "RemovedProfile",
    "Session",
    "StoreKey",
    "StoreLocation",
    "Successor",
    "Sweeps",
    "TagFilter",
    "Tenancy",
    "Transaction",
    "UnapprovedError",
    "UndecryptableError",
    "Waiting",
    "alias_entry",
    "groups_of",
    "last_backup",
    "lease_uses",
    "new_raw_key",
    "no_check",
    "no_check_of_versions",
    "publish",
    "publishes",
    "token_entries",
]
