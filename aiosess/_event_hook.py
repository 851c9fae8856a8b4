"""Hands events to the application's hook, so that a hook which raises or hangs disturbs no request."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from aiosess._log_limit import LogLimit
from aiosess._signals import Signals
from aiosess.events import CookieConflicted, Event

log = logging.getLogger("aiosess")

Hook = Callable[[Event], Awaitable[None] | None]

HOOK_TIMEOUT = 30.0  # seconds
DRAIN_TIMEOUT = 5.0  # seconds; a shutdown waits no longer
MAX_RUNNING = 1000  # calls of the hook that have not returned
# Events that wait for one of these calls to return, at some 2 kB each. A sweep waits for the hook, so only a hook that
# hangs for long fills this.
MAX_WAITING = 100_000
# Events that a request without any right can cause. They get a small part of the room: what matters must not be lost
# because somebody sent a flood of them to a slow hook.
ANONYMOUS = (CookieConflicted,)
MAX_ANONYMOUS = 100  # of these, whose calls have not returned or not begun


class EventHook:
    """Calls the hook for each event in a task of its own; the calls begin in the order of the events."""

    def __init__(self, hook: Hook | None, signals: Signals, limit: LogLimit) -> None:
        """Listen to the events, if the application has a hook."""
        self._limit = limit
        self._anonymous = 0
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: deque[Event | asyncio.Future[None]] = deque()
        if hook is not None:
            self._hook = hook
            signals.happened.connect(self._take)
            signals.wait_for(self.caught_up)

    async def caught_up(self) -> None:
        """Wait until the hook was called for every event so far, and each call has returned or run out of time."""
        if self._waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        if self._running:
            await asyncio.wait(self._running.copy())

    async def drain(self) -> None:
        """Wait a little for the hooks that still run, and cancel those that hang."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self.caught_up()
        except TimeoutError:
            lost = sum(isinstance(each, Event) for each in self._waiting)
            message = "on_event: the hook hangs at shutdown: %d calls are cancelled, %d more events are lost"
            log.error(message, len(self._running), lost)  # noqa: TRY400 - a traceback says no more
            self._waiting.clear()
            for task in self._running:
                task.cancel()

    def _take(self, event: Event) -> None:
        is_anonymous = isinstance(event, ANONYMOUS)
        if len(self._waiting) >= MAX_WAITING or (is_anonymous and self._anonymous >= MAX_ANONYMOUS):
            self._lose(event)
            return
        self._anonymous += is_anonymous
        if len(self._running) < MAX_RUNNING:
            self._start(event)
        else:
            self._waiting.append(event)

    def _lose(self, event: Event) -> None:
        name = type(event).__name__
        if self._limit.allows(f"{name} events lost", at_most=1):
            log.error("on_event: too many events wait for the hook; a %s event is lost", name)

    def _start(self, event: Event) -> None:
        task = asyncio.create_task(self._call(event))
        self._running.add(task)
        task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        while self._waiting and len(self._running) < MAX_RUNNING:
            following = self._waiting.popleft()
            if isinstance(following, Event):
                self._start(following)
            elif not following.done():
                following.set_result(None)

    async def _call(self, event: Event) -> None:
        try:
            async with asyncio.timeout(HOOK_TIMEOUT):
                result = self._hook(event)
                if inspect.isawaitable(result):
                    await result
        except Exception:
            name = type(event).__name__
            if self._limit.allows(f"on_event failed for {name} events"):
                log.exception("on_event failed for a %s event", name)
        finally:
            self._anonymous -= isinstance(event, ANONYMOUS)
