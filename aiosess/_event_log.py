"""
Logs the events that an operator has to know of, whether or not the application has a hook for events.

The lines hold no ids and no addresses. The names of devices come from strangers: ``clean()`` has made them printable,
and repr() shows where they begin and end.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from aiosess import events
from aiosess._log_limit import LogLimit
from aiosess._signals import Signals

log = logging.getLogger("aiosess")

TEXTS: Final[Mapping[type[events.Event], Callable[[Any], str]]] = MappingProxyType(
    {
        events.CookieConflicted: lambda event: (
            f"a request of {event.presenter.device_name!r} carried two different session cookies, so somebody planted "
            "one; it was taken as anonymous"
        ),
        events.FingerprintChanged: lambda event: (
            f"a session that was opened with {event.origin.device_name!r} was used with {event.presenter.device_name!r}"
        ),
        events.OldSecretPresented: lambda event: (
            f"{event.presenter.device_name!r} sent a secret that rotate() had replaced long before; the session goes on"
        ),
        events.ReuseDetected: lambda event: (
            "two parties used one session, and one of them may be a thief, so it was ended: "
            f"{event.presenter.device_name!r} sent a replaced token, {event.other.device_name!r} had sent its successor"
        ),
        events.WentBack: lambda _: (
            "the database is older than a token that it had accepted: it lost recent changes (failover, restore), and "
            "sessions that were ended in that span may be live again"
        ),
    }
)


def log_events(signals: Signals, limit: LogLimit) -> None:
    """Log each event of these kinds from now on as a warning, as far as the limit allows."""

    def tell(event: events.Event) -> None:
        kind = type(event)
        text = TEXTS.get(kind)
        if text is not None and limit.allows(f"{kind.__name__} in the log"):
            log.warning("%s: %s", kind.__name__, text(event))

    signals.happened.connect(tell)
