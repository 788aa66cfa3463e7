"""The inside of a store, for commands that read or write whole stores."""

from minikms.store.askar.files import is_open_elsewhere, note_backup, require_one_name
from minikms.store.askar.identity import set_new_identity
from minikms.store.askar.layout import LAYOUT, Layout, require_current
from minikms.store.askar.location import require_one_driver_environment
from minikms.store.askar.schema import connect, require_askars_schema
from minikms.store.askar.sequence import SEQ_TAG, seq_of
from minikms.store.askar.sessions import KeyEntry
from minikms.store.askar.stores import open_store
from minikms.store.categories import ARRIVING, DAY_USES, DELETION, LAST_USES, ROTATION
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.connections.rows import BATCH, read_by_halves
from minikms.store.keys.due_entries import POSTPONED, deletion_tags
from minikms.store.keys.entries import find_material, find_versions, insert_key, tags_of
from minikms.store.keys.last_use import SINCE
from minikms.store.keys.provider_objects import ProviderObjects, objects_in
from minikms.store.opening import require_unused
from minikms.store.profiles.arrivals import Arrival
from minikms.store.profiles.entries import DirectoryListing, use_tags
from minikms.store.profiles.publication import publish, publishes

__all__ = [
    "ARRIVING",
    "BATCH",
    "DAY_USES",
    "DELETION",
    "LAST_USES",
    "LAYOUT",
    "LONG_TIMEOUT",
    "POSTPONED",
    "ROTATION",
    "SEQ_TAG",
    "SINCE",
    "Arrival",
    "DirectoryListing",
    "KeyEntry",
    "Layout",
    "ProviderObjects",
    "connect",
    "deletion_tags",
    "find_material",
    "find_versions",
    "insert_key",
    "is_open_elsewhere",
    "note_backup",
    "objects_in",
    "open_store",
    "publish",
    "publishes",
    "read_by_halves",
    "require_askars_schema",
    "require_current",
    "require_one_driver_environment",
    "require_one_name",
    "require_unused",
    "seq_of",
    "set_new_identity",
    "tags_of",
    "use_tags",
]
