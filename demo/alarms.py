"""Report a stolen session to its user: two parties used it, so aiosess ended it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler

import aiosess
from aiosess import events
from demo.accounts import ACCOUNTS


@dataclass(frozen=True, slots=True)
class Party:
    """The device and address of one of the two; equal if they look the same."""

    device: str
    ip: str


@dataclass(frozen=True, slots=True)
class Theft:
    """A session that two parties used: ``presenter`` sent an old token, ``other`` had the current one."""

    at: datetime
    other: Party
    presenter: Party


THEFTS = web.RequestKey("thefts", tuple[Theft, ...])


def noting_thefts(app: web.Application) -> Callable[[events.Event], Awaitable[None]]:
    """Return a hook for ``on_event``. A real application would send an e-mail as well."""

    async def note(event: events.Event) -> None:
        if isinstance(event, events.ReuseDetected):
            theft = {
                "at": event.at.astimezone(UTC).isoformat(),
                "other": _party(event.other),
                "presenter": _party(event.presenter),
            }
            await app[ACCOUNTS].note_theft(event.user_id, theft)

    return note


@web.middleware
async def with_thefts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Load the thefts to report; each page shows them at its top, the devices page too."""
    # Static files are not checked, and a page that does not exist needs no session.
    with suppress(aiosess.NotChecked):
        user_id = None if request.match_info.http_exception else request[aiosess.SESSIONS].user_id
        kept = [] if user_id is None else await request.app[ACCOUNTS].thefts(user_id)
        request[THEFTS] = tuple(_theft(**details) for details in kept)
    return await handler(request)


def thefts(request: web.Request) -> tuple[Theft, ...]:
    """Return the thefts to report, newest first; templates call this."""
    told: tuple[Theft, ...] = request.get(THEFTS, ())
    return told


def _party(origin: events.Origin) -> dict[str, str]:
    return {"device": origin.device_name, "ip": origin.ip or "an unknown address"}


def _theft(at: str, other: dict[str, str], presenter: dict[str, str]) -> Theft:
    return Theft(datetime.fromisoformat(at), Party(**other), Party(**presenter))
