"""Base for algorithms whose keys are stored as their secret bytes."""

from abc import abstractmethod

from minikms.plugin.protocol import KeyAlgorithm, KeyT, SecretImporter, Stored


class BytesStored(KeyAlgorithm[KeyT], SecretImporter[KeyT]):
    """An algorithm with a library's keys in memory, and their secret bytes in the store."""

    @abstractmethod
    def secret_bytes(self, key: KeyT) -> bytes:
        """The bytes that `import_secret` makes `key` from."""

    def pack(self, key: KeyT) -> Stored:
        return self.secret_bytes(key)

    def unpack(self, stored: Stored) -> KeyT:
        if not isinstance(stored, bytes):
            raise TypeError(f"{self.name} keys are kept as bytes")
        return self.import_secret(stored)
