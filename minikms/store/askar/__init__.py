"""Askar: the location, files, schema and layout of a store, and sessions on it."""
