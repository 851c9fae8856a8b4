"""A future whose task is woken together with others, in one callback of the loop."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Any

from aiosess._row import Row


class Waiter(asyncio.Future[Row | None]):
    """
    What one request waits for; each has its own, because cancelling one must not cancel what the others wait for.

    A future has the loop call its task back. To make and run such a callback for each request took longer than the
    check itself, so it is kept here, and the batch calls those of all its requests in one callback of the loop.
    """

    __slots__ = ("callback", "context")

    callback: Callable[["Waiter"], object] | None  # set to None by who makes one: __init__ would take as long again
    context: Context

    def add_done_callback(self, fn: Callable[["Waiter"], object], /, *, context: Context | None = None) -> None:
        """Keep the first one, which is the waiting task's."""
        if self.callback is None and not self.done():
            self.callback, self.context = fn, copy_context() if context is None else context
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[["Waiter"], object], /) -> int:
        """Forget a callback."""
        if self.callback != fn:
            return super().remove_done_callback(fn)
        self.callback = None
        return 1 + super().remove_done_callback(fn)

    def cancel(self, msg: Any = None) -> bool:  # noqa: ANN401 - as asyncio has it
        """Let the task go on alone."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.wake_soon()
        return cancelled

    def wake_soon(self) -> None:
        """Have the loop call the task back, as any future does."""
        callback, self.callback = self.callback, None
        if callback is not None:
            self.get_loop().call_soon(callback, self, context=self.context)


def wake_all(waiters: Iterable[Waiter]) -> None:
    """Let the tasks of waiters that are done go on, one after the other; for a callback of the loop, not for a task."""
    rest = iter(waiters)
    try:
        for waiter in rest:
            callback, waiter.callback = waiter.callback, None
            if callback is not None:
                waiter.context.run(callback, waiter)
    finally:
        for waiter in rest:  # after a KeyboardInterrupt or SystemExit: a task lets nothing else out
            waiter.wake_soon()
