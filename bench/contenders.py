"""The contenders of `run.py`, by name."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from contender import Contender
from mini_kms import Echo, MiniKms
from moto_kms import AwsDoor, Moto
from transit import OpenBao, OpenBaoOnRaft, VaultDoor

TWO: Final = ("--workers", "2")
RAFT: Final = "openbao-raft"
OF_PRODUCTION: Final = "openbao-production"

CONTENDERS: Final[dict[str, Contender]] = {
    "memory": MiniKms("memory"),
    "memory-2": MiniKms("memory, 2 workers", options=TWO),
    "sqlite": MiniKms("SQLite", like=RAFT, store="sqlite"),
    "postgres": MiniKms("PostgreSQL", like=RAFT, store="postgres"),
    "sqlite-2": MiniKms("SQLite, 2 workers", like=RAFT, store="sqlite", options=TWO),
    "postgres-2": MiniKms("PostgreSQL, 2 workers", like=RAFT, store="postgres", options=TWO),
    "openbao": OpenBao("OpenBao"),
    RAFT: OpenBaoOnRaft("OpenBao, raft"),
    "production": MiniKms(
        "Mini KMS", OF_PRODUCTION, store="sqlite", audit=True, options=TWO, tls=True
    ),
    OF_PRODUCTION: OpenBaoOnRaft("OpenBao", audit=True, tls=True),
    "moto": Moto("moto"),
    "aws": AwsDoor("AWS door"),
    "vault": VaultDoor("Vault door"),
    "vault-2": VaultDoor("Vault door, 2 workers", options=TWO),
    "echo": Echo("echo"),
}


def contenders(names: Iterable[str], database: Callable[[str], str] | None) -> dict[str, Contender]:
    """Contenders by name, each with its own database if it uses PostgreSQL."""
    found = {name: CONTENDERS[name] for name in names}
    for name, contender in found.items():
        if database and isinstance(contender, MiniKms) and contender.store == "postgres":
            found[name] = replace(contender, postgres=database(name))
    return found
