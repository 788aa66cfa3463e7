"""Composes the `DoorService` of a door of the calls that the service has for it."""

from minikms.credentials.service import Credentials
from minikms.keys.service import KeyService


class KeysOfDoor:
    """The `DoorService` of a door, which owns the aliases that `keys` does not reserve."""

    def __init__(self, keys: KeyService, credentials: Credentials) -> None:
        self.perform = keys.perform
        self.perform_batch = keys.perform_batch
        self.generate = keys.generate
        self.generate_pair = keys.generate_pair
        self.import_key = keys.import_key
        self.get = keys.get
        self.describe = keys.describe
        self.records = keys.records
        self.list_keys = keys.list_keys
        self.pages = keys.pages
        self.associate = keys.associate
        self.dissociate = keys.dissociate
        self.versions = keys.versions
        self.predecessors = keys.predecessors
        self.change_versions = keys.change_versions
        self.delete_name = keys.delete_name
        self.update = keys.update
        self.relabel = keys.relabel
        self.schedule_deletion = keys.schedule_deletion
        self.restore = keys.restore
        self.delete = keys.delete
        self.rotate = keys.rotate
        self.rotate_name = keys.rotate_name
        self.set_certificates = credentials.certificates.set_chain
        self.random = keys.random
        self.ping = keys.ping
