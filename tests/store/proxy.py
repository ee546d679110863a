"""A TCP proxy that is as bad as a network can be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes on to a port of this machine.

    Attributes:
        target: the port; connections that are open stay where they are.
        delay_s: what the server sends arrives so much later.
        passes: clear it, and nothing passes any more; connections are accepted and stay open.
        connections: how many were made.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.passes = asyncio.Event()
        self.passes.set()
        self.connections = 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    def drop(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(OSError):
            await self.passes.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(back)
            await asyncio.gather(
                self._pass(reader, back, delayed=False), self._pass(there, writer, delayed=True)
            )

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self.passes.wait()
                if delayed and self.delay_s:
                    loop.call_later(self.delay_s, writer.write, data)
                else:
                    writer.write(data)
        writer.transport.abort()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy until the block ends."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"redis://127.0.0.1:{port}"
    try:
        yield proxy
    finally:
        proxy.passes.set()
        proxy.drop()
        server.close()
