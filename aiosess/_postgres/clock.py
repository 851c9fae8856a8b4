"""PostgreSQL's clock, as this process knows it."""

from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Final

CLOCK_TICK: Final = 0.005  # seconds


class Clock:
    """
    The database's clock, known from its answers and carried on by the monotonic one.

    This machine's clock may be wrong by days, and those of other hosts in another way: nothing is judged by it.

    Attributes:
        offset: What has to be added to the monotonic clock for the database's time in seconds since the epoch; minus
            infinity: the database has told nothing yet.

    """

    __slots__ = ("_known", "_known_at", "_tick", "_tick_at", "offset")

    def __init__(self) -> None:
        """Start from this machine's clock, until an answer says better: some events name an instant before."""
        self.learn(datetime.now(UTC))
        self.offset = -inf

    def learn(self, instant: datetime) -> None:
        """Take over an instant that the database has just told."""
        self._known = self._tick = instant
        self._known_at = self._tick_at = at = monotonic()
        self.offset = instant.timestamp() - at

    def now(self) -> datetime:
        """Return the database's time; late by the time that its last answer travelled, and at most 5 ms more."""
        at = monotonic()
        if at - self._tick_at > CLOCK_TICK:  # making a datetime takes longer than the rest of judging a token
            self._tick, self._tick_at = self._known + timedelta(seconds=at - self._known_at), at
        return self._tick

    def lead(self) -> timedelta | None:
        """Return how far this machine's clock is ahead of the database's; None: that is not known."""
        return None if self.offset == -inf else datetime.now(UTC) - self.now()
