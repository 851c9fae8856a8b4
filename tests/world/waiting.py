"""How tests wait for other tasks, processes and servers: with a deadline, and never for a fixed time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getsource, isawaitable
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


async def eventually(ask: Callable[[], Any], *, within: float = 60) -> None:
    """Ask until the answer is true: for what other tasks, processes and servers do in their own time (seconds)."""
    answer: Any = None
    try:
        async with asyncio.timeout(within):
            while not answer:
                answer = ask()
                if isawaitable(answer):
                    answer = await answer
                if not answer:
                    await asyncio.sleep(0.01)
    except TimeoutError:
        message = f"not within {within:g} s: {_spelled(ask)}; the last answer was {answer!r}"
        raise AssertionError(message) from None


def _spelled(ask: Callable[[], Any]) -> str:
    """Return how the source spells a question."""
    try:
        return " ".join(getsource(ask).split())
    except (OSError, TypeError):  # not a function
        return repr(ask)


async def somebody_waits(pg: asyncpg.Connection) -> None:
    """Wait until a statement waits for a lock that this connection holds."""
    query = "select exists (select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid)))"
    await eventually(lambda: pg.fetchval(query))
