"""Background work of a process: last activity, settled marks, first presentations, and the sweeping of expired rows."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from aiosess._postgres.endings import Endings
from aiosess._postgres.rows import Rows
from aiosess.config import SessionConfig
from aiosess.errors import StoreUnavailable

log = logging.getLogger("aiosess")

FLUSH_EVERY = 1.0  # seconds
MAX_MARKS = 10_000  # per UPDATE; further ones are dropped, and a later request marks the session again


class Mark(NamedTuple):
    """
    What a request noted of its session.

    Attributes:
        at: When, by the database's clock.
        is_activity: Whether the request counts as activity of the session.
        settled_id: The current token, if its browser has it for good.

    """

    at: datetime
    is_activity: bool
    settled_id: str | None


class Upkeep:
    """Collects marks of many sessions and writes them in one UPDATE a second; losing one is harmless."""

    def __init__(self, rows: Rows, endings: Endings, config: SessionConfig) -> None:
        """Collect nothing yet."""
        self._rows = rows
        self._endings = endings
        self._sweep_every = config.sweep_interval.total_seconds()
        self._marks: dict[UUID, Mark] = {}

    def touch(self, session_id: UUID, at: datetime) -> None:
        """Note that a session was active."""
        self._mark(session_id, Mark(at, is_activity=True, settled_id=None))

    def settle(self, session_id: UUID, at: datetime, token_id: str, *, is_activity: bool = True) -> None:
        """Note that the current token was presented again, so the browser has it for good."""
        self._mark(session_id, Mark(at, is_activity, token_id))

    def present(self, session_id: UUID, at: datetime) -> None:
        """Note that a request brought a session's token, though nothing else is due to be written."""
        self._mark(session_id, Mark(at, is_activity=False, settled_id=None))

    def _mark(self, session_id: UUID, mark: Mark) -> None:
        known = self._marks.get(session_id)
        if known is None and len(self._marks) >= MAX_MARKS:
            return
        if known is not None:
            # Activity before a poll is counted as of the poll: a second later at most.
            mark = Mark(mark.at, mark.is_activity or known.is_activity, mark.settled_id or known.settled_id)
        self._marks[session_id] = mark

    async def flush(self) -> None:
        """Write the collected marks."""
        if not self._marks:
            return
        marks, self._marks = self._marks, {}
        try:
            await self._rows.touch(marks.keys(), marks.values())
        except StoreUnavailable:
            log.info("%d last-active marks were lost", len(marks))

    async def run(self) -> None:
        """Flush every second and sweep when it is this process's turn, until cancelled."""
        # A fleet that was started at once does not ask at once.
        ask_every = self._sweep_every * random.uniform(0.1, 0.2)  # noqa: S311 - spreads load, no secret
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(repeat(self.flush, FLUSH_EVERY))
            tasks.create_task(repeat(self.sweep_if_due, ask_every))

    async def sweep_if_due(self) -> None:
        """Sweep, unless another process has within the interval."""
        try:
            if await self._endings.claim_sweep():
                await self._endings.sweep()
        except StoreUnavailable:
            log.info("the sweep is put off: the session store cannot be asked")


async def repeat(work: Callable[[], Awaitable[None]], every: float) -> None:
    """Do something again and again, with so many seconds in between, until cancelled."""
    while True:
        await asyncio.sleep(every)
        try:
            await work()
        except Exception:  # a mistake must not end the upkeep of a process that goes on serving
            log.exception("upkeep failed, and goes on")
