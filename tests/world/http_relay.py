"""A proxy before a server process that loses responses on their way, or holds them up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.world.waiting import Gate


@dataclass
class HttpRelay:
    """
    A port of 127.0.0.1 that passes requests without a body on, each on a connection of its own.

    Attributes:
        losing: The next response with this text resets the client's connection instead of arriving.
        holding: The next response with this text waits at the gate.

    """

    server_port: int
    port: int = 0
    losing: bytes | None = None
    holding: bytes | None = None
    gate: Gate = field(default_factory=Gate)

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its response back unless that is to be lost."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        writer.write(await client.readuntil(b"\r\n\r\n"))
        response = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line[15:]) for line in response.split(b"\r\n") if line.startswith(b"Content-Length:"))
        response += await reader.readexactly(size)
        writer.close()
        if self.holding is not None and self.holding in response:
            self.holding = None
            await self.gate.wait()
        if self.losing is not None and self.losing in response:
            self.losing = None
            answer.transport.abort()
            return
        answer.write(response)
        await answer.drain()
        answer.close()


@asynccontextmanager
async def relayed_http(server_port: int) -> AsyncIterator[HttpRelay]:
    """Put a proxy before a server for a while."""
    relay = HttpRelay(server_port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        relay.gate.opened.set()
        server.close()
        await server.wait_closed()
