"""Composes the `DoorService` of a door from calls of the services for keys and credentials."""

from minikms.credentials.service import Credentials
from minikms.keys.service import KeyService


class KeysOfDoor:
    """The `DoorService` of a door, which owns the aliases that `keys` does not reserve."""

    def __init__(self, keys: KeyService, credentials: Credentials) -> None:
        self.perform = keys.operations.perform
        self.perform_batch = keys.batches.perform
        self.generate = keys.creation.generate
        self.generate_pair = keys.creation.generate_pair
        self.import_key = keys.creation.import_key
        self.get = keys.operations.get
        self.describe = keys.descriptions.describe
        self.records = keys.descriptions.records
        self.list_keys = keys.descriptions.list_keys
        self.pages = keys.descriptions.pages
        self.associate = keys.aliases.associate
        self.dissociate = keys.aliases.dissociate
        self.versions = keys.aliases.versions
        self.predecessors = keys.aliases.predecessors
        self.change_versions = keys.aliases.change_versions
        self.delete_name = keys.aliases.delete_name
        self.update = keys.changes.update
        self.relabel = keys.changes.relabel
        self.schedule_deletion = keys.changes.schedule_deletion
        self.restore = keys.changes.restore
        self.delete = keys.changes.delete
        self.rotate = keys.rotation.rotate
        self.rotate_name = keys.rotation.rotate_name
        self.set_certificates = credentials.certificates.set_chain
        self.random = keys.random
        self.ping = keys.ping
