"""Sessions that this process knows from earlier answers: their rows, or that they have ended."""

from collections.abc import Iterable, Mapping
from math import inf
from time import monotonic
from typing import Final
from uuid import UUID

from aiosess._bounded_map import BoundedMap
from aiosess._postgres.statements import UnreadableRow
from aiosess._row import Row
from aiosess._signals import Signals

NEVER: Final = -inf  # PostgreSQL was not asked about the session yet


class Known:
    """A session's row, or None if it has ended; and when PostgreSQL was asked, by the monotonic clock."""

    __slots__ = ("asked_at", "row")

    def __init__(self, row: Row | None, asked_at: float) -> None:
        """Keep both."""
        self.row = row
        self.asked_at = asked_at


class Held:
    """
    Holds rows and ended sessions, bounded together; nothing of it is believed without a check.

    Attributes:
        epoch: Another number whenever a connection was lost. An answer from an earlier epoch may be another
            server's, and is not held.

    """

    __slots__ = ("_known", "_signals", "epoch", "get")

    def __init__(self, size: int, signals: Signals) -> None:
        """Hold at most ``size`` sessions; follow what writes of this process announce."""
        self.epoch = 0
        self._known: BoundedMap[int, Known] = BoundedMap(size)
        self.get = self._known.get  # by ``session_id.int``, without another call for each request
        self._signals = signals
        signals.changed.connect(self.hold)
        signals.ended.connect(self.mark_ended)
        signals.all_ended.connect(self.forget_all)
        signals.connection_lost.connect(self.forget_all)

    def hold(self, row: Row) -> None:
        """Take over a row that was read; never an older one, nor one of a session that has ended."""
        known = self._known.get(row.id.int)
        if known is None:
            self._known.put(row.id.int, Known(row, NEVER))
        elif known.row is not None and known.row.revision < row.revision:
            known.row = row

    def mark_ended(self, session_id: UUID) -> None:
        """Remember that a session has ended: that is final, and costs no more queries."""
        known = self._known.get(session_id.int)
        if known is None or known.row is not None:
            self._known.put(session_id.int, Known(None, monotonic()))

    def forget(self, session_id: UUID) -> None:
        """Read the row anew at the next check."""
        self._known.pop(session_id.int)

    def forget_all(self) -> None:
        """Forget everything: the server that answers next may be another, or restored to an earlier time."""
        self._known.clear()
        self.epoch += 1

    def take_over(self, changed: Mapping[UUID, Row | UnreadableRow | None], epoch: int) -> None:
        """Take over the answer to a check that was asked in this epoch, and announce the ends that it found."""
        if epoch != self.epoch:
            return  # the connection was lost just after it had answered
        for session_id, row in changed.items():
            if row is None:
                self._signals.ended.send(session_id)
            elif not isinstance(row, UnreadableRow):
                self.hold(row)

    def note_asked(self, session_ids: Iterable[UUID], asked_at: float) -> None:
        """Note when PostgreSQL was asked about these sessions."""
        for session_id in session_ids:
            known = self._known.get(session_id.int)
            if known is not None and known.row is not None:
                known.asked_at = asked_at
