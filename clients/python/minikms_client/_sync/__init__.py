"""The blocking client, made by make_sync.py."""
