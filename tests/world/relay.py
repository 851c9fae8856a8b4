"""A relay between an application and PostgreSQL that holds, swallows and cuts what goes through it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit


class Relay:
    """
    A TCP port that leads to a PostgreSQL server, for faults that no server can be asked for.

    Attributes:
        dsn: The server's DSN, through the relay.
        swallows: Bytes vanish, in both directions, and connections stay open: a dead network.
        gate: While it is not set, bytes wait here: a slow network.
        connections: How many connections were ever made.
        lost: How many answers were lost on purpose.
        delay: Seconds that bytes from the server take.
        connecting_takes: Seconds until a new connection is passed on.
        refuses: New connections are reset at once.

    """

    def __init__(self, dsn: str) -> None:
        """Lead to the server of a DSN, on a Unix socket or a TCP port."""
        parts = urlsplit(dsn)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._host = query.pop("host", None) or parts.hostname or "127.0.0.1"
        self._port = int(query.pop("port", None) or parts.port or 5432)
        self._parts, self._query = parts, query | {"sslmode": "disable"}
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self.losing: list[bytes] = []
        self.swallows = self.refuses = False
        self.connecting_takes = self.delay = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.connections = self.lost = 0

    async def start(self) -> None:
        """Listen on 127.0.0.1."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    @property
    def dsn(self) -> str:
        """The server's DSN, through the relay."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(
            self._parts._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=urlencode(self._query, quote_via=quote))
        )

    def lose_answer(self, text: str) -> None:
        """Let the next statement with this text be carried out, and cut its connection instead of answering."""
        self.losing.append(text.encode())

    def cut(self) -> None:
        """Reset every connection."""
        for pair in list(self._pairs):
            pair.abort()

    def forget(self) -> None:
        """Let the bytes of every connection of today vanish, as a firewall does that has forgotten them."""
        for pair in self._pairs:
            pair.is_forgotten = True

    async def close(self) -> None:
        """Reset every connection and stop listening."""
        assert self._server is not None
        self._server.close()
        self.gate.set()
        self.cut()
        await asyncio.gather(*(pair.ended.wait() for pair in list(self._pairs)))
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pair = _Pair(self, writer)
        self._pairs.add(pair)
        try:
            if self.refuses:
                raise ConnectionRefusedError
            await asyncio.sleep(self.connecting_takes)
            if self._host.startswith("/"):
                server = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
            else:
                server = await asyncio.open_connection(self._host, self._port)
            await pair.run(reader, *server)
        except OSError:
            writer.transport.abort()
        finally:
            self._pairs.discard(pair)
            pair.ended.set()


class _Pair:
    """One connection of a client, and the one to the server that goes with it."""

    def __init__(self, relay: Relay, client: asyncio.StreamWriter) -> None:
        self.ended = asyncio.Event()
        self.is_forgotten = False
        self._relay = relay
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._statements: dict[bytes, bytes] = {}
        self._unread = b""
        self._has_started = False
        self._loses = False

    def abort(self) -> None:
        """Reset both connections."""
        self._client.transport.abort()
        if self._server is not None:
            self._server.transport.abort()

    async def run(
        self, client: asyncio.StreamReader, server: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass bytes on until either side ends."""
        self._server = writer
        pumps = [
            asyncio.create_task(self._pump(client, writer, self._watch)),
            asyncio.create_task(self._pump(server, self._client, self._answer)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        self.abort()
        await asyncio.wait(pumps)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], bool]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._relay.gate.wait()
                if writer is self._client:
                    await asyncio.sleep(self._relay.delay)
                if self._relay.swallows or self.is_forgotten:
                    continue
                if not look(data):
                    break
                writer.write(data)
                await writer.drain()

    def _answer(self, data: bytes) -> bool:
        """Look at what the server says; False: it is not to arrive."""
        if not self._loses:
            return True
        if data.endswith(b"Z\0\0\0\5I"):  # ReadyForQuery: what was asked is committed
            self._relay.lost += 1
            return False
        return True

    def _watch(self, data: bytes) -> bool:
        """Look at what the client says, message by message: a Parse names a statement, a Bind carries it out."""
        self._unread += data
        while len(self._unread) > 4:
            head = 1 if self._has_started else 0
            size = head + int.from_bytes(self._unread[head : head + 4])
            if len(self._unread) < size or len(self._unread) < head + 4:
                break
            message, self._unread = self._unread[:size], self._unread[size:]
            if not self._has_started:
                self._has_started = True
            elif message[:1] == b"P":
                name, text, *_ = message[5:].split(b"\0")
                self._statements[name] = text
            elif message[:1] == b"B":
                text = self._statements.get(message[5:].split(b"\0")[1], b"")
                for wanted in self._relay.losing:
                    if wanted in text:
                        self._relay.losing.remove(wanted)
                        self._loses = True
                        break
        return True


@asynccontextmanager
async def relayed(dsn: str) -> AsyncIterator[Relay]:
    """Put a relay before a server for a while."""
    relay = Relay(dsn)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.close()
