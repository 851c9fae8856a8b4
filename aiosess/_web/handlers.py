"""Marks on handlers that say how their requests are treated."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiohttp import web

Handler = TypeVar("Handler", bound=Callable[..., Any])

_UNCHECKED: Final = "__aiosess_unchecked__"
_BACKGROUND: Final = "__aiosess_background__"


def unchecked(handler: Handler) -> Handler:
    """Mark a handler or view whose requests are not checked; it has no ``request["sessions"]``."""
    setattr(handler, _UNCHECKED, True)
    return handler


def background(handler: Handler) -> Handler:
    """
    Mark a handler or view whose requests are no activity of the session: a page polls it without its user.

    The requests are checked as all others are, and the session's token goes on rotating. Only ``last_active_at`` and
    the idle time stay, so that a page which was left open keeps nobody signed in (ASVS 5.0, 7.3.1).
    """
    setattr(handler, _BACKGROUND, True)
    return handler


def background_routes(app: web.Application) -> frozenset[web.AbstractRoute]:
    """Return the routes whose requests are no activity of the session."""
    return frozenset(route for route in app.router.routes() if hasattr(route.handler, _BACKGROUND))


def unchecked_routes(app: web.Application) -> frozenset[web.AbstractRoute]:
    """Return the routes whose requests are not checked: static files, and handlers that are marked."""
    return frozenset(filter(_is_unchecked, app.router.routes()))


def _is_unchecked(route: web.AbstractRoute) -> bool:
    return isinstance(route.resource, web.StaticResource) or hasattr(route.handler, _UNCHECKED)
