"""Calls under `sys/`, by which clients learn that a Vault is there."""

import time
from typing import Final

from minikms.doors import OPEN
from minikms.doors.vault.body import Body
from minikms.doors.vault.operation import Answer, VaultAnswer, VaultCall, operation

_VERSION: Final = "2.7.0"
"""The version of OpenBao whose Transit engine the door follows."""


@operation("health", OPEN, "GET /sys/health", "HEAD /sys/health")
async def health(call: VaultCall, body: Body) -> Answer:
    """Say that the service is ready."""
    return VaultAnswer(
        {
            "initialized": True,
            "sealed": False,
            "standby": False,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": int(time.time()),
            "version": _VERSION,
            "cluster_name": "minikms",
            "cluster_id": "",
        },
        bare=True,
    )


OPERATIONS: Final = (health,)
