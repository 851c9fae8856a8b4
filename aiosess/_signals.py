"""Hands events to the application's hook, so that a hook which raises or hangs disturbs no request."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from aiosess.events import Event

log = logging.getLogger("aiosess")

Hook = Callable[[Event], Awaitable[None] | None]

HOOK_TIMEOUT = 30.0  # seconds
DRAIN_TIMEOUT = 5.0  # seconds; a shutdown waits no longer
MAX_WAITING = 1000


class Dispatcher:
    """Runs the hook for each event in a task of its own, in the order of the events, and bounds how many hang."""

    def __init__(self, hook: Hook | None) -> None:
        """Take the application's hook, or None: then events go nowhere."""
        self._hook = hook
        self._tasks: set[asyncio.Task[None]] = set()

    def emit(self, event: Event) -> None:
        """Hand over one event and return at once."""
        if self._hook is None:
            return
        if len(self._tasks) >= MAX_WAITING:
            log.error("on_event: %d calls have not returned; a %s event is lost", MAX_WAITING, type(event).__name__)
            return
        task = asyncio.create_task(self._call(self._hook, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait a little for the hooks that still run, and cancel those that hang."""
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=DRAIN_TIMEOUT)
            for task in hanging:
                task.cancel()

    @staticmethod
    async def _call(hook: Hook, event: Event) -> None:
        try:
            async with asyncio.timeout(HOOK_TIMEOUT):
                result = hook(event)
                if inspect.isawaitable(result):
                    await result
        except Exception:
            log.exception("on_event failed for a %s event", type(event).__name__)
