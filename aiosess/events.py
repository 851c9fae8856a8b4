"""
Events: typed records of what happened to sessions, for ``SessionConfig.on_event``.

The process that wrote a change emits its event once, after PostgreSQL acknowledged the write. If the process is
killed between the two, the event is lost. A sweep waits for the hook before it goes on. While a hook hangs, at most
100,000 events wait for it, and the log says how many of which kind are lost. No event is emitted twice, or for a
change that did not happen. ReuseDetected, OldSecretPresented, WentBack, FingerprintChanged and CookieConflicted are
logged as warnings too, with a hook or without. The repr of an event shows no ids, so applications may log it; the
fields hold what an e-mail or an audit log needs.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from aiosess._row import Row
from aiosess.session import DeviceType

__all__ = (
    "AllRevoked",
    "CookieConflicted",
    "Created",
    "Event",
    "Evicted",
    "Expired",
    "FingerprintChanged",
    "NewDevice",
    "OldSecretPresented",
    "Origin",
    "Reason",
    "ReuseDetected",
    "Revoked",
    "Rotated",
    "SessionEvent",
    "WentBack",
)

Reason = Literal["login", "logout", "logout_all", "logout_other", "revoke", "revoke_user", "fingerprint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The address and the User-Agent that a request came from."""

    ip: str | None = field(repr=False)
    user_agent: str = field(repr=False)
    device_name: str
    device_type: DeviceType


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events; ``at`` is the database's time, or this machine's if PostgreSQL did not tell it."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent(Event):
    """The base of the events about one session; ``origin`` is that of its login."""

    session_id: UUID = field(repr=False)
    user_id: str = field(repr=False)
    origin: Origin
    created_at: datetime
    last_active_at: datetime

    @classmethod
    def of(cls, row: Row, at: datetime, **details: object) -> Self:
        """Make the event from the session's row in its last state."""
        origin = Origin(ip=row.ip, user_agent=row.user_agent, device_name=row.device_name, device_type=row.device_type)
        return cls(
            at=at,
            session_id=row.id,
            user_id=row.user_id,
            origin=origin,
            created_at=row.created_at,
            last_active_at=row.last_active_at,
            **details,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Created(SessionEvent):
    """A user signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice(SessionEvent):
    """
    A user signed in, and none of their other live sessions has this browser family, platform and device type.

    The session that the login replaces counts as one of them: a browser that is signed in and signs in again is known.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated(SessionEvent):
    """A session has a new token: a browser sent a successor ("automatic"), or the application rotated the token."""

    cause: Literal["automatic", "requested", "reauthenticated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked(SessionEvent):
    """A user, the application or the fingerprint rule ended a session."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRevoked(Event):
    """The application or an operator ended the sessions of all users; the sessions emit no events of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted(SessionEvent):
    """The cap on sessions per user ended a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(SessionEvent):
    """A session's time ran out, and the sweep deleted its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseDetected(SessionEvent):
    """
    Two parties used one session, so aiosess ended it.

    ``presenter`` sent the replaced token; ``other`` was the first to send the
    token that was current then. Either of them may be the thief, and the two may
    look the same. ``origin`` is that of the login.
    """

    presenter: Origin
    other: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSecretPresented(SessionEvent):
    """
    A request brought a secret that ``rotate()`` or ``reauthenticated()`` replaced longer than ``late_window`` before.

    ``presenter`` sent it. Two parties may hold the session: a thief presents a
    copy, or a thief called ``rotate()`` and the owner presents the old token. Or
    the owner's browser never got the new token. The session goes on, and the
    request is anonymous. If its sender signs in as the session's user, the
    session ends. Told once for each replaced secret.
    """

    presenter: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack(SessionEvent):
    """
    The database is older than a verified token: it lost recent changes (failover, restore).

    aiosess moved the session forward. Sessions that ended in the lost span may
    be live again; an application that logs revocations should repeat them.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintChanged(SessionEvent):
    """A request came from another browser family, platform or device type than the session's earlier requests."""

    presenter: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieConflicted(Event):
    """
    A request had two different session or version cookies, so somebody planted one; aiosess took it as anonymous.

    Anybody can send such requests: ten in a minute become events, and the log
    says how many more there were.
    """

    presenter: Origin
