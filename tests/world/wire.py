"""Requests and responses as bytes, for tests that send what no client library would send."""

import asyncio
import json
from dataclasses import dataclass, field

from aiohttp import ClientResponse, hdrs
from multidict import CIMultiDict

COOKIE = "__Host-session"  # the cookie that holds the token
VERSION_COOKIE = "__Host-session-version"  # and the one that says which token the browser got last
NAVIGATION = (b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")  # a browser opens a page


@dataclass
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes = b""

    @property
    def user(self) -> str | None:
        """Who /me says is asking; None for nobody."""
        assert self.status == 200, self.status
        user: str | None = json.loads(self.body)["user"]
        return user

    @property
    def token(self) -> str | None:
        """The session cookie's value that it sets; "" when it deletes the cookie, None when it leaves it alone."""
        return self._value(COOKIE)

    @property
    def version(self) -> str | None:
        """The version cookie's value that it sets; "" when it deletes the cookie, None when it leaves it alone."""
        return self._value(VERSION_COOKIE)

    def _value(self, name: str) -> str | None:
        values = [line.split(";")[0].partition("=")[2] for line in set_cookies(self) if line.startswith(f"{name}=")]
        assert len(values) <= 1, f"two cookies {name} in one response"
        return values[0] if values else None


class Wire:
    """A connection that sends bytes as they are, where a client library would mend them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the two ends of a connection."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Wire":
        """Connect to a port of 127.0.0.1."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, *requests: bytes) -> None:
        """Send bytes; several requests are pipelined."""
        self._writer.write(b"".join(requests))
        await self._writer.drain()

    async def read(self) -> Reply:
        """Read the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        reply = Reply(int(head[0].split()[1]))
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            reply.headers.add(name, value.strip())
        if reply.headers.get(hdrs.TRANSFER_ENCODING) == "chunked":
            while size := int(await self._reader.readline(), 16):
                reply.body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readline()
        elif reply.status not in {101, 204, 304}:
            reply.body = await self._reader.readexactly(int(reply.headers.get(hdrs.CONTENT_LENGTH, 0)))
        return reply

    async def until(self, text: bytes) -> bytes:
        """Read until some text has come."""
        return await self._reader.readuntil(text)

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        return await self._reader.read()

    async def ask(self, request: bytes) -> Reply:
        """Send one request and read its answer."""
        await self.send(request)
        return await self.read()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


def request_bytes(target: str, *headers: bytes, method: str = "GET") -> bytes:
    """Return a request without a body."""
    return b"\r\n".join((f"{method} {target} HTTP/1.1".encode(), b"Host: site", *headers, b"", b""))


def set_cookies(reply: ClientResponse | Reply | None) -> list[str]:
    """Return the Set-Cookie headers of an answer."""
    assert reply is not None
    return reply.headers.getall(hdrs.SET_COOKIE, [])


async def present(port: int, token: str, target: str = "/me", *headers: bytes, method: str = "GET") -> Reply:
    """Send a token once to a port of 127.0.0.1, on a connection of its own, whatever was sent or set before."""
    wire = await Wire.open(port)
    try:
        return await wire.ask(request_bytes(target, f"Cookie: {COOKIE}={token}".encode(), *headers, method=method))
    finally:
        await wire.close()


async def sign_in(port: int, user: str = "ada", *headers: bytes) -> str:
    """Sign a user in and return the token."""
    reply = await present(port, "none", f"/login/{user}", *headers, method="POST")
    assert reply.status == 200, reply.status
    assert reply.token
    return reply.token
