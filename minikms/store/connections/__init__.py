"""Connections to a store: their pool, calls on them within time limits, notices of changes."""
