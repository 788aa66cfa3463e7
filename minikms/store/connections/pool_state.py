"""The state of the connections to a store, for metrics."""

from collections.abc import Mapping
from typing import NamedTuple


class PoolState(NamedTuple):
    """The state of the connections: their number, and how many are in use.

    `waiting` counts the calls without a connection, `reopened` the times the store was reopened.
    `hanging` counts earlier pools that wait for calls that hang, `commits` the commits of this
    process, `errors` its failed calls by cause. `is_writable` is false after a failed write.
    """

    connections: int
    in_use: int
    waiting: int
    reopened: int
    hanging: int
    commits: int
    errors: Mapping[str, int]
    is_writable: bool
