"""
Who may ask for a connection: writes leave one to reads, and few of them wait for the same row.

A write may wait for a lock for as long as the deadline: while an index is made, or another transaction holds a row.
Writes that hang must not take all connections, or nobody could be checked any more.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

# Statements that write one row run one after the other in any case. A second one may travel while the first one runs.
PER_ROW: Final = 2


class Lanes:
    """Lets writes pass in turns."""

    def __init__(self, connections: int) -> None:
        """Let writes have all connections of a pool but one; a pool of one connection serves both."""
        self._all = asyncio.Semaphore(max(1, connections - 1))
        self._rows: dict[Hashable, _Row] = {}

    @asynccontextmanager
    async def enter(self, row: Hashable) -> AsyncIterator[None]:
        """Wait until few others write this row (the id of a session or of a user), and then for a connection."""
        turns = self._rows.get(row)
        if turns is None:
            turns = self._rows[row] = _Row()
        turns.visitors += 1
        try:
            async with turns.few, self._all:
                yield
        finally:
            turns.visitors -= 1
            if not turns.visitors:
                del self._rows[row]


class _Row:
    """One row: who writes it, and how many do or wait."""

    __slots__ = ("few", "visitors")

    def __init__(self) -> None:
        self.few = asyncio.Semaphore(PER_ROW)
        self.visitors = 0
