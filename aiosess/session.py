"""Sessions as an application sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NoReturn
from uuid import UUID

__all__ = ("DeviceType", "Session", "SessionPage", "Tally")

DeviceType = Literal["desktop", "mobile", "tablet", "tv", "console", "program", "bot", "unknown"]


class ReadOnlyData(dict[str, Any]):
    """
    The data of a session as a dict that cannot be changed in place, for nobody would store the change.

    A dict and no proxy: it can be copied, pickled and written as JSON. ``dict(data)`` can be changed.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        message = "a session's data cannot be changed in place: await sessions.set(key, value)"
        raise TypeError(message)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["ReadOnlyData"], tuple[dict[str, Any]]]:
        """Copy and pickle as a whole: the usual way sets one key after the other."""
        return type(self), (dict(self),)


@dataclass(frozen=True, slots=True)
class Session:
    """
    A live session, as its user and the application may see it.

    ``id`` names the session and is no credential. The repr shows neither ids
    nor data, so that a record may be logged. ``data`` is a dict that raises
    TypeError when it is changed; the lists and dicts inside are the caller's own
    copies, and a change of them is not stored. Records can be compared, hashed,
    copied, pickled and turned into dicts (``dataclasses.asdict``); equal records
    have the same hash.
    """

    id: UUID = field(repr=False)
    user_id: str = field(repr=False)
    ip: str | None = field(repr=False)
    user_agent: str = field(repr=False)
    device_name: str
    device_type: DeviceType
    data: Mapping[str, Any] = field(repr=False, hash=False)
    created_at: datetime
    last_active_at: datetime
    authenticated_at: datetime
    expires_at: datetime
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of a user's live sessions, and when the newest began; it changes whenever one begins or ends."""

    total: int = 0
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some of a user's live sessions, with the tally of all; ``read_at`` is the database's time of the query."""

    sessions: tuple[Session, ...]
    tally: Tally
    read_at: datetime
