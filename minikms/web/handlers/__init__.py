"""Handlers: each parses a request, calls one method, and dumps its result."""
