"""A proxy of TCP connections that can hold them still, delay them and end them."""

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards the connections of a port of 127.0.0.1 to another.

    Forwarded data waits for `delay` seconds. Without `ends`, it keeps a connection open that the
    other side has ended.
    """

    delay = 0.0

    def __init__(self, port: int, *, ends: bool = True) -> None:
        self._target = port
        self._ends = ends
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, url: str) -> str:
        """The URL that leads through the proxy."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{self.port}").geturl()

    def drop(self) -> asyncio.Event:
        """Hold the open connections still, until the returned event is set.

        New ones are forwarded.
        """
        held = self._open
        held.clear()
        self._open = asyncio.Event()
        self._open.set()
        return held

    def cut(self) -> None:
        """Hold all connections still, also new ones."""
        self._open.clear()

    def heal(self) -> None:
        """Go on after `cut`."""
        self._open.set()

    def end_all(self) -> None:
        """End all open connections."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        gate = self._open
        with suppress(ConnectionError, asyncio.CancelledError):
            await gate.wait()
            there = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._forward(reader, there[1], gate))
                    both.create_task(self._forward(there[0], writer, gate))
            finally:
                there[1].close()
        writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        """Forward bytes and their end while the gate is open."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay)
                await gate.wait()
                writer.write(data)
                await writer.drain()
        if not self._ends:
            await asyncio.Event().wait()
        await gate.wait()
        writer.close()
