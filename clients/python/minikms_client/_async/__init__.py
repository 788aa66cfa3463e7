"""The client for asyncio, from which make_sync.py makes the blocking one."""
