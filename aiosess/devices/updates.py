"""Tell open pages that a user's sessions changed, with one query a second for all pages of a process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aiosess.errors import StoreUnavailable
from aiosess.session import Tally
from aiosess.store import SessionStore

log = logging.getLogger("aiosess")

ASK_EVERY: Final = 1.0  # seconds
KEEP_ALIVE: Final = 20.0  # seconds; many proxies end a connection that is silent for a minute
MAX_PAGES: Final = 30  # open pages of one user in one process


class TooManyPages(Exception):
    """The user has too many pages open."""


class OpenPage:
    """One page that a browser has open."""

    def __init__(self) -> None:
        """Start without a tally."""
        self._tally: Tally | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def update(self, tally: Tally) -> None:
        """Take the user's tally; wake the iteration if it differs from the last one."""
        if tally != self._tally:
            self._tally = tally
            self._changed.set()

    def close(self) -> None:
        """End the iteration, because the process shuts down."""
        self._closed = True
        self._changed.set()

    async def tallies(self) -> AsyncIterator[Tally | None]:
        """Give the first tally and each change; give None after 20 seconds without a change."""
        while not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE):
                    await self._changed.wait()
            if not self._closed:
                yield self._tally if self._changed.is_set() else None
            self._changed.clear()


class OpenPages:
    """The open pages of this process, by user."""

    def __init__(self) -> None:
        """Start without a page; the first page starts the queries."""
        self._pages: dict[str, set[OpenPage]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def add(self, user_id: str, store: SessionStore) -> Iterator[OpenPage]:
        """
        Keep a page of a user up to date, until the block ends.

        Raises:
            TooManyPages: the user has too many pages open.

        """
        pages = self._pages.setdefault(user_id, set())
        if len(pages) >= MAX_PAGES:
            raise TooManyPages
        page = OpenPage()
        pages.add(page)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(store))
        try:
            yield page
        finally:
            pages.discard(page)
            if not pages:
                self._pages.pop(user_id, None)

    async def close(self, _app: object = None) -> None:
        """Close all pages, so that the shutdown does not wait for them."""
        for pages in self._pages.values():
            for page in pages:
                page.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, store: SessionStore) -> None:
        """Ask for the tallies once a second while a page is open."""
        while self._pages:
            try:
                self._update(await store.tally(tuple(self._pages)))
            except StoreUnavailable:
                log.debug("open devices pages wait: the session store cannot be asked")
            await asyncio.sleep(ASK_EVERY)

    def _update(self, tallies: dict[str, Tally]) -> None:
        for user_id, pages in self._pages.items():
            tally = tallies.get(user_id)
            if tally is None:
                continue  # all sessions of this user ended: guard() ends the stream
            for page in pages:
                page.update(tally)
