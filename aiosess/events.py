"""
What happened to sessions, as typed records for ``SessionConfig.on_event``.

An event is emitted once, by the process whose write made it true, after the write was acknowledged. A process that is
killed in between loses it; none is ever emitted twice or for something that did not happen. Reprs show no ids, so that
an event may be logged; what an application needs for an e-mail or an audit trail are its fields.
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
    """Where a request came from: its address and what its User-Agent says."""

    ip: str | None = field(repr=False)
    user_agent: str = field(repr=False)
    device_name: str
    device_type: DeviceType


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; ``at`` by the database's clock where it was known, else by this machine's."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent(Event):
    """Something that happened to one session; the device and address are those of its login."""

    session_id: UUID = field(repr=False)
    user_id: str = field(repr=False)
    origin: Origin
    created_at: datetime
    last_active_at: datetime

    @classmethod
    def of(cls, row: Row, at: datetime, **details: object) -> Self:
        """Return the event for a session, from its row as the database last had it."""
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
    """A user signed in, and no other live session of theirs is on such a browser, platform and device type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated(SessionEvent):
    """A successor was presented for the first time ("automatic"), or the application rotated on purpose."""

    cause: Literal["automatic", "requested", "reauthenticated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked(SessionEvent):
    """A session was ended by decision."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRevoked(Event):
    """Every session of every user was ended by decision; the sessions have no events of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted(SessionEvent):
    """A session was ended by the cap on sessions per user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(SessionEvent):
    """A session's time had run out, and its row was swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseDetected(SessionEvent):
    """
    Two parties went on with one session, which was therefore ended.

    ``presenter`` sent the token that gave it away; ``other`` had first sent the
    one that was current then. Either may be the thief, and the two may look
    alike. ``origin`` is that of the login.
    """

    presenter: Origin
    other: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack(SessionEvent):
    """
    The database knew less than a verified token: it went back in time (failover, restore).

    The session was moved forward. Sessions that were ended in the lost span
    may be live again: an application with a log of revocations repeats them.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintChanged(SessionEvent):
    """A session is used by another browser family, platform or device type than before."""

    presenter: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieConflicted(Event):
    """A request carried two different values of our cookie, so one was planted; it was taken as anonymous."""

    presenter: Origin
