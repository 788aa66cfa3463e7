"""Handlers: parse, one call, dump."""
