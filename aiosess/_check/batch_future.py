"""A future whose task is woken together with others, in one callback of the loop."""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Any

from aiosess._row import Row


class BatchFuture(asyncio.Future[Row | None]):
    """
    One request's wait for its batch; each request has a future of its own, so cancelling one cancels no other.

    An ordinary future lets the loop call its task back. Making and running such a callback for each request took longer
    than the check itself. This future keeps the callback, and the batch calls those of all its requests in one callback
    of the loop.
    """

    __slots__ = ("callback", "context")

    # Set to None by the caller: an __init__ of our own would take as long again.
    callback: Callable[["BatchFuture"], object] | None
    context: Context

    def add_done_callback(self, fn: Callable[["BatchFuture"], object], /, *, context: Context | None = None) -> None:
        """Keep the first callback, which is the waiting task's."""
        if self.callback is None and not self.done():
            self.callback, self.context = fn, copy_context() if context is None else context
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[["BatchFuture"], object], /) -> int:
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


def wake_all(waiters: Iterable[BatchFuture]) -> None:
    """Let the tasks that wait for these futures go on; the loop calls this, for a task cannot run other tasks."""
    rest = iter(waiters)
    try:
        for waiter in rest:
            callback, waiter.callback = waiter.callback, None
            if callback is not None:
                waiter.context.run(callback, waiter)
    finally:
        for waiter in rest:  # after a KeyboardInterrupt or SystemExit, the only exceptions that leave a task
            waiter.wake_soon()
