"""Sessions as an application sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

__all__ = ("DeviceType", "Session", "SessionPage", "Tally")

DeviceType = Literal["desktop", "mobile", "tablet", "tv", "console", "program", "bot", "unknown"]


@dataclass(frozen=True, slots=True)
class Session:
    """
    A live session, as its user and the application may see it.

    ``id`` names the session and is no credential. The repr shows neither ids
    nor data, so that a record may be logged.
    """

    id: UUID = field(repr=False)
    user_id: str = field(repr=False)
    ip: str | None = field(repr=False)
    user_agent: str = field(repr=False)
    device_name: str
    device_type: DeviceType
    data: Mapping[str, Any] = field(repr=False)
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
