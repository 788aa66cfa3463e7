"""The client for asyncio; make_sync.py makes the blocking client from it."""
