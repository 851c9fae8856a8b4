"""Keeps strangers from filling the log and the event hook: a few lines in each minute, then one with the numbers."""

import logging
from collections import Counter
from typing import Final

log = logging.getLogger("aiosess")

PER_MINUTE: Final = 10


class LogLimit:
    """Counts what one installation tells, by kind; ``start_minute()`` has to be called once a minute."""

    def __init__(self) -> None:
        """Start with nothing told."""
        self._told: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def allows(self, kind: str, at_most: int = PER_MINUTE) -> bool:
        """Say whether one more of this kind may be told in this minute; if not, it is counted."""
        if self._told[kind] < at_most:
            self._told[kind] += 1
            return True
        self._left_out[kind] += 1
        return False

    def start_minute(self) -> None:
        """Start again, and say in one line how many of each kind were left out."""
        left_out = self._left_out.most_common()
        self._told.clear()
        self._left_out = Counter()
        if left_out:
            log.warning(
                "not told one by one since a minute ago: %s",
                ", ".join(f"{kind} ({number:,} times)" for kind, number in left_out),
            )
