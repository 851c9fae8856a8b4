"""The page's list of sessions, for templates and as JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from aiosess.devices.texts import Translation
from aiosess.session import DeviceType, Session, SessionPage, Tally

PER_PAGE: Final = 50

# An address and a language give the name of a place, or None.
FindPlace = Callable[[str | None, str], str | None]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in three forms: for programs, to the second, and relative to now."""

    iso: str
    exact: str
    ago: Markup

    @classmethod
    def of(cls, instant: datetime, now: datetime, translation: Translation) -> "Moment":
        """Format an instant."""
        exact = f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return cls(_iso(instant), exact, translation.ago(instant, now))


@dataclass(frozen=True, slots=True)
class ListedSession:
    """One session as the page shows it; nobody can use it to get in."""

    id: str
    name: str
    type: DeviceType
    ip: str | None
    place: str | None
    signed_in: Moment
    active: Moment
    is_current: bool

    @classmethod
    def of(cls, session: Session, now: datetime, translation: Translation, find_place: FindPlace) -> "ListedSession":
        """Take the fields that the page shows; data and User-Agent stay out."""
        return cls(
            id=str(session.id),
            name=session.device_name,
            type=session.device_type,
            ip=session.ip,
            place=find_place(session.ip, translation.language),
            signed_in=Moment.of(session.created_at, now, translation),
            active=Moment.of(session.last_active_at, now, translation),
            is_current=session.is_current,
        )


@dataclass(frozen=True, slots=True)
class SessionList:
    """One page of a user's sessions; ``stamp`` changes when a session of this user begins or ends."""

    sessions: tuple[ListedSession, ...]
    total: int
    page: int
    pages: int
    stamp: str

    @classmethod
    def of(cls, page: SessionPage, number: int, translation: Translation, find_place: FindPlace) -> "SessionList":
        """Format the sessions of one page."""
        return cls(
            sessions=tuple(
                ListedSession.of(session, page.read_at, translation, find_place) for session in page.sessions
            ),
            total=page.tally.total,
            page=number,
            pages=count_pages(page.tally.total),
            stamp=stamp_of(page.tally),
        )

    def as_json(self, csrf_token: str) -> dict[str, Any]:
        """Return the list as ``openapi.json`` describes it."""
        return {
            "sessions": [
                {
                    "id": session.id,
                    "device_name": session.name,
                    "device_type": session.type,
                    "ip": session.ip,
                    "place": session.place,
                    "created_at": session.signed_in.iso,
                    "last_active_at": session.active.iso,
                    "is_current": session.is_current,
                }
                for session in self.sessions
            ],
            "total": self.total,
            "page": self.page,
            "pages": self.pages,
            "csrf_token": csrf_token,
        }


def count_pages(total: int) -> int:
    """Return how many pages so many sessions take; at least one."""
    return max(1, -(-total // PER_PAGE))


def stamp_of(tally: Tally) -> str:
    """Encode a tally in a few characters."""
    newest = 0 if tally.newest_at is None else int(tally.newest_at.timestamp() * 1_000_000)
    return f"{tally.total:x}-{newest:x}"


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")
