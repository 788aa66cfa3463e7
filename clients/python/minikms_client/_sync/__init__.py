"""The client that blocks, made by make_sync.py."""
