"""AWS KMS's JSON protocol on the keys of the service."""

from typing import Final

UUID_PREFIX: Final = "aws:"
"""Prefix of the alias that has the UUID of a key; ListAliases leaves it out."""
