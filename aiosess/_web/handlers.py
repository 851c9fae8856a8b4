"""Marks on handlers that say how their requests are treated."""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar

from aiohttp import web

Handler = TypeVar("Handler", bound=Callable[..., Any])

_MARK: Final = "__aiosess_treatment__"


class Treatment(Enum):
    """How the requests of a route are treated, if not as most are."""

    UNCHECKED = "unchecked"
    BACKGROUND = "background"


def unchecked(handler: Handler) -> Handler:
    """
    Mark a handler or view whose requests are not checked.

    ``request["sessions"]`` raises ``NotChecked`` there until ``await request["sessions"].check()``.
    """
    setattr(handler, _MARK, Treatment.UNCHECKED)
    return handler


def background(handler: Handler) -> Handler:
    """
    Mark a handler or view whose requests are no activity of the session: a page polls it without its user.

    The requests are checked as all others are, and the session's token goes on rotating. Only ``last_active_at`` and
    the idle time stay, so that a page which was left open keeps nobody signed in (ASVS 5.0, 7.3.1).
    """
    setattr(handler, _MARK, Treatment.BACKGROUND)
    return handler


def treatments(app: web.Application) -> dict[web.AbstractRoute, Treatment]:
    """Return the routes that are treated in a way of their own: marked handlers, and static files (unchecked)."""
    found = {route: _treatment(route) for route in app.router.routes()}
    return {route: treatment for route, treatment in found.items() if treatment is not None}


def _treatment(route: web.AbstractRoute) -> Treatment | None:
    if isinstance(route.resource, web.StaticResource):
        return Treatment.UNCHECKED
    return getattr(route.handler, _MARK, None)
