"""What the sessions tell the application: that one was used from two places, and is therefore over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler

import aiosess
from aiosess import events
from demo.accounts import ACCOUNTS


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of the two was; two that look the same are equal."""

    device: str
    ip: str


@dataclass(frozen=True, slots=True)
class Theft:
    """A session that two parties used: when that showed, who had it then, and who came with an older copy."""

    at: datetime
    other: Place
    presenter: Place


THEFTS = web.RequestKey("thefts", tuple[Theft, ...])


def noting_thefts(app: web.Application) -> Callable[[events.Event], Awaitable[None]]:
    """Return a hook for ``on_event``. A real application would send an e-mail as well."""

    async def note(event: events.Event) -> None:
        if isinstance(event, events.ReuseDetected):
            theft = {
                "at": event.at.astimezone(UTC).isoformat(),
                "other": _place(event.other),
                "presenter": _place(event.presenter),
            }
            await app[ACCOUNTS].note_theft(event.user_id, theft)

    return note


@web.middleware
async def with_thefts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read what every page of this user has to say at its top, the devices page too, which is not made here."""
    # Files have no session, and for a page that does not exist nobody need know who asks.
    if aiosess.SESSIONS in request and request.match_info.http_exception is None:
        user_id = request[aiosess.SESSIONS].user_id
        kept = [] if user_id is None else await request.app[ACCOUNTS].thefts(user_id)
        request[THEFTS] = tuple(_theft(**details) for details in kept)
    return await handler(request)


def thefts(request: web.Request) -> tuple[Theft, ...]:
    """Return what the page is to say, the latest first: for templates."""
    told: tuple[Theft, ...] = request.get(THEFTS, ())
    return told


def _place(origin: events.Origin) -> dict[str, str]:
    return {"device": origin.device_name, "ip": origin.ip or "an unknown address"}


def _theft(at: str, other: dict[str, str], presenter: dict[str, str]) -> Theft:
    return Theft(datetime.fromisoformat(at), Place(**other), Place(**presenter))
