"""The client for asyncio, of which the other one is made: see make_sync.py."""
