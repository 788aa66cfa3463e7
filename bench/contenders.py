"""The contenders of `run.py`, by name."""

from typing import Final

from contender import Contender
from mini_kms import Echo, MiniKms
from moto_kms import AwsDoor, Moto
from openbao import OpenBao, OpenBaoOnRaft

CONTENDERS: Final[dict[str, Contender]] = {
    "memory": MiniKms("memory"),
    "memory-2": MiniKms("memory, 2 workers", options=("--workers", "2")),
    "memory-2-audit": MiniKms(
        "memory, 2 workers, token, audit",
        like="openbao-audit",
        audit=True,
        options=("--workers", "2"),
    ),
    "sqlite": MiniKms("SQLite", like="openbao-raft", store="sqlite"),
    "postgres": MiniKms("PostgreSQL", like="openbao-raft", store="postgres"),
    "memory-before": MiniKms("memory, before", like=None, before=True),
    "sqlite-before": MiniKms("SQLite, before", like=None, store="sqlite", before=True),
    "postgres-before": MiniKms("PostgreSQL, before", like=None, store="postgres", before=True),
    "openbao": OpenBao("OpenBao"),
    "openbao-audit": OpenBao("OpenBao, audit", audit=True),
    "openbao-raft": OpenBaoOnRaft("OpenBao, raft"),
    "moto": Moto("moto"),
    "aws": AwsDoor("AWS door"),
    "echo": Echo("echo"),
}
