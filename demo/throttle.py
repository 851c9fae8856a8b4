"""A limit on password tries."""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from time import monotonic

from aiohttp import web


@dataclass(slots=True)
class _Tries:
    count: int
    since: float


class Throttle:
    """
    A bounded count of the recent tries, by address and name.

    It counts unknown names like known ones. It counts a try before its outcome
    is known, so parallel tries all count.
    """

    def __init__(self, limit: int = 10, span: float = 300, max_keys: int = 10_000) -> None:
        """Allow ``limit`` tries in ``span`` seconds; remember at most ``max_keys`` keys."""
        self._span = span
        self._limit = limit
        self._max_keys = max_keys
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def wait(self, address: str, name: str) -> int:
        """Count a try, and return how many seconds the user has to wait; zero lets the try pass."""
        now = monotonic()
        tries = self._tries.pop((address, name), None)
        if tries is None or now - tries.since >= self._span:
            tries = _Tries(0, now)
        tries.count += 1
        self._tries[address, name] = tries
        if len(self._tries) > self._max_keys:
            self._tries.popitem(last=False)
        return 0 if tries.count <= self._limit else ceil(tries.since + self._span - now)

    def forget(self, address: str, name: str) -> None:
        """Reset the count, because the password was right."""
        self._tries.pop((address, name), None)


THROTTLE = web.AppKey("throttle", Throttle)
