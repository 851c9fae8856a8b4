"""The data of one request's session: an application's keys and values, and the record they stand in."""

import logging
from typing import Any, TypeVar, overload
from uuid import UUID

from aiosess._postgres.exact_json import check_key, encode_value
from aiosess._row import Row, session_of
from aiosess._web.visit import Visit
from aiosess.errors import InvalidData, NotAuthenticated, SessionRevoked
from aiosess.session import Session

log = logging.getLogger("aiosess")

T = TypeVar("T")


class SessionData:
    """What ``SessionManager`` offers for the session's record and data."""

    __slots__ = ("_seen", "_visit")

    def __init__(self, visit: Visit) -> None:
        """Take the visit of a request."""
        self._visit = visit
        self._seen: tuple[Row, Session] | None = None

    @property
    def current(self) -> Session | None:
        """The current session's record, or None."""
        self._visit.look()
        row = self._visit.row
        if row is None:
            return None
        if self._seen is None or self._seen[0] is not row:
            self._seen = (row, session_of(row, is_current=True))
        return self._seen[1]

    @overload
    def get(self, key: str, type: None = None) -> Any: ...  # noqa: ANN401 - the contract's name; any JSON value

    @overload
    def get(self, key: str, type: type[T]) -> T | None: ...

    def get(self, key: str, type: type[Any] | None = None) -> Any:  # noqa: A002 - the contract's name
        """
        Return a value of the session's data.

        None when nobody is signed in, when the key is absent, or when the value
        is not of ``type``, which is also logged. The value is the request's own:
        changing it in place changes nothing in the session.
        """
        session = self.current
        value = None if session is None else session.data.get(key)
        if type is None or value is None or _is_of(value, type):
            return value
        log.warning("aiosess: session data %r is %s, not %s", key, value.__class__.__name__, type.__name__)
        return None

    async def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """
        Set one key of the session's data, persisted at once; requests that set different keys both win.

        Raises:
            NotAuthenticated: nobody is signed in.
            InvalidData: the key or value cannot be kept exactly, or the data would be too large.
            SessionRevoked: the session ended while this request ran.
            StoreUnavailable: PostgreSQL does not answer; the value may or may not be set.

        """
        row, store = self._row(), self._visit.services.store
        text = encode_value(value, self._visit.services.config.max_data_bytes)
        patched = await store.patch(row.id, check_key(key), text)
        if patched is None and await store.load(row.id) is not None:
            message = f"the data would be larger than max_data_bytes ({self._visit.services.config.max_data_bytes})"
            raise InvalidData(message)
        self._update(row.id, patched)

    async def remove_key(self, key: str) -> None:
        """
        Remove one key of the session's data, persisted at once; an absent key is no error.

        Raises:
            NotAuthenticated: nobody is signed in.
            InvalidData: no value can have this key.
            SessionRevoked: the session ended while this request ran.
            StoreUnavailable: PostgreSQL does not answer; the key may or may not be there.

        """
        row = self._row()
        self._update(row.id, await self._visit.services.store.remove_key(row.id, check_key(key)))

    def _row(self) -> Row:
        self._visit.look()
        if self._visit.row is None:
            raise NotAuthenticated
        return self._visit.row

    def _update(self, session_id: UUID, row: Row | None) -> None:
        if row is None:
            self._visit.end(session_id)
            raise SessionRevoked
        self._visit.update(row)


def _is_of(value: object, kind: type[Any]) -> bool:
    if isinstance(value, bool) and kind is not bool:
        return kind is object  # True is no number here, though Python says so
    return isinstance(value, kind)
