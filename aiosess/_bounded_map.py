"""A bounded map that forgets what was not used for longest: for verified tokens, held rows and ended sessions."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """
    A map of at most ``size`` entries, in two generations.

    A hit in the young generation is one dict look-up and moves nothing, which
    is what an LRU cannot offer. When the young one is full it becomes the old
    one, and what the old one still held is forgotten. The ``size / 2``
    entries that were used last are always there.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size: int) -> None:
        """Start empty; a size of one counts as two, one for each generation."""
        self._half = max(1, size // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        """Return how many entries are remembered."""
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """Return what is remembered of a key, or None."""
        try:
            return self._young[key]  # every request gets two entries: nothing is quicker than not asking for more
        except KeyError:
            value = self._old.pop(key, None)
        if value is not None:
            self._put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        self._old.pop(key, None)
        self._put(key, value)

    def pop(self, key: K) -> V | None:
        """Forget a key and return what was remembered of it."""
        young, old = self._young.pop(key, None), self._old.pop(key, None)
        return old if young is None else young

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()

    def _put(self, key: K, value: V) -> None:
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value
