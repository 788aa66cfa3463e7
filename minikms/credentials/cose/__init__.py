"""COSE messages and keys."""
