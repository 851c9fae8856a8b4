"""What the page shows of sessions."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from aiosess.devices.texts import Speech
from aiosess.session import DeviceType, Session, SessionPage, Tally

PER_PAGE: Final = 50

Place = Callable[[str | None, str], str | None]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, as machines and people read it."""

    iso: str
    exact: str
    ago: Markup

    @classmethod
    def of(cls, instant: datetime, now: datetime, speech: Speech) -> "Moment":
        """Spell an instant."""
        exact = f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return cls(_iso(instant), exact, speech.ago(instant, now))


@dataclass(frozen=True, slots=True)
class Device:
    """A session as a row of the list."""

    id: str
    name: str
    type: DeviceType
    ip: str | None
    place: str | None
    signed_in: Moment
    active: Moment
    is_current: bool


@dataclass(frozen=True, slots=True)
class DeviceList:
    """A page of the list; ``stamp`` is another one whenever a session began or ended."""

    devices: tuple[Device, ...]
    total: int
    page: int
    pages: int
    stamp: str


def device_of(session: Session, now: datetime, speech: Speech, place: Place) -> Device:
    """Return what is shown of a session: no data, no User-Agent, and nothing that anybody could get in with."""
    return Device(
        id=str(session.id),
        name=session.device_name,
        type=session.device_type,
        ip=session.ip,
        place=place(session.ip, speech.language),
        signed_in=Moment.of(session.created_at, now, speech),
        active=Moment.of(session.last_active_at, now, speech),
        is_current=session.is_current,
    )


def list_of(page: SessionPage, number: int, speech: Speech, place: Place) -> DeviceList:
    """Return what is shown of a page."""
    return DeviceList(
        devices=tuple(device_of(session, page.read_at, speech, place) for session in page.sessions),
        total=page.tally.total,
        page=number,
        pages=count_pages(page.tally.total),
        stamp=stamp_of(page.tally),
    )


def as_json(listed: DeviceList, csrf_token: str) -> dict[str, Any]:
    """Return the same for a program."""
    return {
        "sessions": [
            {
                "id": device.id,
                "device_name": device.name,
                "device_type": device.type,
                "ip": device.ip,
                "place": device.place,
                "created_at": device.signed_in.iso,
                "last_active_at": device.active.iso,
                "is_current": device.is_current,
            }
            for device in listed.devices
        ],
        "total": listed.total,
        "page": listed.page,
        "pages": listed.pages,
        "csrf_token": csrf_token,
    }


def count_pages(total: int) -> int:
    """Return how many pages so many sessions take; at least one."""
    return max(1, -(-total // PER_PAGE))


def stamp_of(tally: Tally) -> str:
    """Spell a tally in a few characters."""
    newest = 0 if tally.newest_at is None else int(tally.newest_at.timestamp() * 1_000_000)
    return f"{tally.total:x}-{newest:x}"


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")
