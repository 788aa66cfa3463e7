"""Connections to a store: waited for, used within time limits, and told of changes."""
