"""How tests wait for other tasks, processes and servers: with a deadline, and never for a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg


@dataclass
class Gate:
    """Holds a handler, so that things happen between the check of its request and what it does next."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Tell that somebody is here, and wait until the gate is open."""
        self.entered.set()
        await self.opened.wait()


async def eventually(ask: Callable[[], Awaitable[Any]], *, within: float = 10) -> None:
    """Ask until the answer is true: for what other tasks, processes and servers do in their own time (seconds)."""
    async with asyncio.timeout(within):
        while not await ask():  # noqa: ASYNC110 - what is asked sends no events
            await asyncio.sleep(0.01)


async def somebody_waits(pg: asyncpg.Connection) -> None:
    """Wait until a statement waits for a lock that this connection holds."""
    query = "select exists (select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid)))"
    await eventually(lambda: pg.fetchval(query))
