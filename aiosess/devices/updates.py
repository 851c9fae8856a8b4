"""Open pages learn that a user's sessions changed: one query a second for all pages of a process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aiosess._postgres.store import SessionStore
from aiosess.errors import StoreUnavailable
from aiosess.session import Tally

log = logging.getLogger("aiosess")

ASK_EVERY: Final = 1.0  # seconds
KEEP_ALIVE: Final = 20.0  # seconds; proxies end connections that are silent for a minute or less
MAX_PAGES: Final = 30  # open pages of one user in one process


class TooManyPages(Exception):
    """The user has too many pages open."""


class Page:
    """One open page: what its user's tally is now, and a wait for the next one."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._tally: Tally | None = None
        self._news = asyncio.Event()
        self._closed = False

    def tell(self, tally: Tally) -> None:
        """Take over a tally; another one than before is news."""
        if tally != self._tally:
            self._tally = tally
            self._news.set()

    def close(self) -> None:
        """End the iteration: the process shuts down."""
        self._closed = True
        self._news.set()

    async def tallies(self) -> AsyncIterator[Tally | None]:
        """Give the tally as soon as it is known and whenever it changes; None when nothing did for some time."""
        while not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE):
                    await self._news.wait()
            if not self._closed:
                yield self._tally if self._news.is_set() else None
            self._news.clear()


class Watch:
    """The open pages of this process, by user."""

    def __init__(self) -> None:
        """Watch nobody yet."""
        self._pages: dict[str, set[Page]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def page(self, user_id: str, store: SessionStore) -> Iterator[Page]:
        """
        Watch a user's sessions for a page, as long as it is open.

        Raises:
            TooManyPages: the user has opened too many.

        """
        pages = self._pages.setdefault(user_id, set())
        if len(pages) >= MAX_PAGES:
            raise TooManyPages
        page = Page()
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
        """End all pages, so that the shutdown need not wait for them."""
        for pages in self._pages.values():
            for page in pages:
                page.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, store: SessionStore) -> None:
        """Ask once a second as long as a page is open."""
        while self._pages:
            try:
                self._tell(await store.tally(tuple(self._pages)))
            except StoreUnavailable:
                log.debug("aiosess: open devices pages wait: PostgreSQL does not answer")
            await asyncio.sleep(ASK_EVERY)

    def _tell(self, tallies: dict[str, Tally]) -> None:
        for user_id, pages in self._pages.items():
            tally = tallies.get(user_id)
            if tally is None:
                continue  # of a page whose session has just ended; the guard tells
            for page in pages:
                page.tell(tally)
