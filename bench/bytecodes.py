"""
``python -m bench.bytecodes``: how many bytecodes a request runs, and whose; what a busy machine cannot disturb.

The sites run in this process on aiohttp's own protocol class, without sockets, 64 requests at a time. CPython's tracing
counts each bytecode by the package it belongs to. What runs in C (the HTTP parser, the tasks, the digest, most of
asyncpg) does not count; the times in ``throughput.md`` do.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from aiohttp import web

from aiosess.embedded import EmbeddedPostgres
from bench.site import SITES

KINDS = ("none", "empty", "anonymous", "aiosess")
CONNECTIONS = 64
WARM, COUNTED = 10, 10  # batches
MARKED = 2  # seconds: that a new session was presented is written within one, and its row is read once more then
OWNERS = ("aiosess", "aiohttp", "asyncio", "asyncpg")


class Wire(asyncio.Transport):
    """A connection without a socket; it keeps the last response."""

    def __init__(self, told: Callable[[], None]) -> None:
        """Tell when a response has begun."""
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = b""
        self._told = told

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a response."""
        if not self.sent:
            self._told()
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        """Say that it is open."""
        return False

    def is_reading(self) -> bool:
        """Say that it reads."""
        return True

    def pause_reading(self) -> None:
        """Go on: nothing is buffered here."""

    def resume_reading(self) -> None:
        """Go on."""

    def get_write_buffer_size(self) -> int:
        """Say that all is written."""
        return 0

    def close(self) -> None:
        """Do nothing: there is no socket."""


class Wired:
    """A site with connections that have no sockets, and a signed-in user on each."""

    def __init__(self, app: web.Application) -> None:
        """Take an application."""
        self._runner = web.AppRunner(app, access_log=None)
        self._wires: list[tuple[Any, Wire]] = []
        self._requests: list[bytes] = []
        self._missing = 0
        self._answered: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start, connect, and sign a user in on each connection."""
        await self._runner.setup()
        assert self._runner.server is not None, "set up"  # noqa: S101 - for the type checker
        for number in range(CONNECTIONS):
            protocol: Any = self._runner.server()
            wire = Wire(self._tell)
            protocol.connection_made(wire)
            self._wires.append((protocol, wire))
            self._requests.append(_request("POST", f"/login/user{number}"))
        await self.ask_all()
        cookies = [_cookie(wire.sent) for _, wire in self._wires]
        self._requests = [_request("GET", "/", *([f"Cookie: {cookie}"] if cookie else [])) for cookie in cookies]

    async def ask_all(self) -> None:
        """Send a request on each connection, and wait for all responses."""
        self._missing, self._answered = CONNECTIONS, asyncio.get_running_loop().create_future()
        for (protocol, wire), request in zip(self._wires, self._requests, strict=True):
            wire.sent = b""
            protocol.data_received(request)
        await self._answered

    async def stop(self) -> None:
        """Stop."""
        await self._runner.cleanup()

    def _tell(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._answered is not None:
            self._answered.set_result(None)


def _request(method: str, target: str, *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "User-Agent: bench", "Content-Length: 0", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def _cookie(response: bytes) -> str:
    found = [line for line in response.decode().split("\r\n") if line.startswith("Set-Cookie: ")]
    return found[0].removeprefix("Set-Cookie: ").partition(";")[0] if found else ""


async def _count(app: web.Application) -> tuple[Counter[str], Counter[str]]:
    """Return the bytecodes of one request by owner, and those of aiosess by function."""
    site = Wired(app)
    await site.start()
    for _ in range(WARM):
        await site.ask_all()
    await asyncio.sleep(MARKED)
    await site.ask_all()
    owners: Counter[str] = Counter()
    functions: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - a trace function
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            module = frame.f_globals.get("__name__", "")
            owner = module.partition(".")[0]
            owners[owner if owner in OWNERS else "others"] += 1
            if owner == "aiosess":
                functions[f"{module.removeprefix('aiosess.')}.{frame.f_code.co_name}"] += 1
        return trace

    sys.settrace(trace)
    for _ in range(COUNTED):
        await site.ask_all()
    sys.settrace(None)
    await site.stop()
    return owners, functions


def main() -> None:
    """Count, and print Markdown."""
    arguments = argparse.ArgumentParser(prog="python -m bench.bytecodes").parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, EmbeddedPostgres(Path(folder) / "pg") as postgres:
        arguments.dsn, arguments.redis = postgres.dsn, ""
        counts = {kind: asyncio.run(_count(SITES[kind](arguments))) for kind in KINDS}
    requests = CONNECTIONS * COUNTED
    print("Bytecodes per request.\n")
    print("| site | all |", " | ".join(OWNERS), "| others |")
    print("|---|---:|" + "---:|" * (len(OWNERS) + 1))
    for kind, (owners, _) in counts.items():
        cells = [owners.total(), *(owners[owner] for owner in (*OWNERS, "others"))]
        print(f"| {kind} |", " | ".join(f"{cell / requests:,.0f}" for cell in cells), "|")
    print("\n| function of aiosess, checked request | bytecodes |\n|---|---:|")
    for name, count in counts["aiosess"][1].most_common(20):
        print(f"| `{name}` | {count / requests:.0f} |")


if __name__ == "__main__":
    main()
