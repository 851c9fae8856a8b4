"""PostgreSQL's clock, as this process knows it."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

CLOCK_TICK: Final = 0.005  # seconds


class Clock:
    """The database's clock, known from its answers and carried on by the monotonic one."""

    __slots__ = ("_known", "_known_at", "_tick", "_tick_at")

    def __init__(self) -> None:
        """Start from this machine's clock, until an answer says better."""
        self.learn(datetime.now(UTC))

    def learn(self, instant: datetime) -> None:
        """Take over an instant that the database has just told."""
        self._known = self._tick = instant
        self._known_at = self._tick_at = monotonic()

    def now(self) -> datetime:
        """Return the database's time; late by the time that its last answer travelled, and at most 5 ms more."""
        at = monotonic()
        if at - self._tick_at > CLOCK_TICK:  # making a datetime takes longer than the rest of judging a token
            self._tick, self._tick_at = self._known + timedelta(seconds=at - self._known_at), at
        return self._tick
