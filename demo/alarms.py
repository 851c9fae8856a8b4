"""What the sessions tell the application: that one was used from two places, and is therefore over."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from aiosess import events
from demo.accounts import ACCOUNTS
from demo.pages import exactly


def noting_thefts(app: web.Application) -> Callable[[events.Event], Awaitable[None]]:
    """Return a hook for ``on_event``. A real application would send an e-mail as well."""

    async def note(event: events.Event) -> None:
        if isinstance(event, events.ReuseDetected):
            theft = {
                "at": exactly(event.at),
                "device": event.origin.device_name,
                "ip": event.origin.ip or "unknown",
                "other_device": event.presenter.device_name,
                "other_ip": event.presenter.ip or "unknown",
            }
            await app[ACCOUNTS].note_theft(event.user_id, theft)

    return note
