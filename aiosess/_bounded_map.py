"""A map of bounded size that drops its least used entries: for verified tokens, held rows and ended sessions."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedMap(Generic[K, V]):
    """
    A map of at most ``size`` entries, in two generations.

    A hit in the young generation is one dict look-up and moves nothing; an LRU
    map would move the entry each time. A hit in the old generation moves the
    entry to the young one. When the young generation is full it becomes the
    old one, and the entries of the old one are dropped. The ``size / 2``
    entries that were used last are always there.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size: int) -> None:
        """Start empty; a size of one counts as two, one for each generation."""
        self._half = max(1, size // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        try:
            return self._young[key]  # every request gets two entries: nothing is quicker than not asking for more
        except KeyError:
            value = self._old.pop(key, None)
        if value is not None:
            self._put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Set the value of a key."""
        self._old.pop(key, None)
        self._put(key, value)

    def pop(self, key: K) -> V | None:
        """Remove a key and return its value, or None."""
        young, old = self._young.pop(key, None), self._old.pop(key, None)
        return old if young is None else young

    def clear(self) -> None:
        """Remove all entries."""
        self._young.clear()
        self._old.clear()

    def _put(self, key: K, value: V) -> None:
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value
