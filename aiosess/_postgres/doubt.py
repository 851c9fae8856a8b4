"""Connections that have to show that they still answer before a statement is trusted to them."""

from math import inf
from time import monotonic
from typing import Final

from aiosess._bounded_map import BoundedMap

_REMEMBERED: Final = 1000  # connections


class Doubt:
    """
    Knows when each connection answered last.

    asyncpg has no name for a connection, so the process id of its backend stands for it. If two servers give the same
    one, a dead connection costs its statement the deadline once more.
    """

    def __init__(self) -> None:
        """Trust every connection."""
        self._answered_at: BoundedMap[int, float] = BoundedMap(_REMEMBERED)
        self._silent_at = -inf

    def note_answer(self, pid: int) -> None:
        """Note that a connection has just answered, or was just made."""
        self._answered_at.put(pid, monotonic())

    def note_silence(self) -> None:
        """Note that a connection fell silent: others that were made before may be as dead, and not have noticed."""
        self._silent_at = monotonic()

    def is_on(self, pid: int) -> bool:
        """Say whether a connection has to be asked first."""
        return (self._answered_at.get(pid) or -inf) < self._silent_at
