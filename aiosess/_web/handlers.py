"""Marks on handlers that say how their requests are treated."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from aiohttp import web

Handler = TypeVar("Handler", bound=Callable[..., Any])

_UNCHECKED: Final = "__aiosess_unchecked__"


def unchecked(handler: Handler) -> Handler:
    """Mark a handler or view whose requests are not checked; it has no ``request["sessions"]``."""
    setattr(handler, _UNCHECKED, True)
    return handler


def unchecked_routes(app: web.Application) -> frozenset[web.AbstractRoute]:
    """Return the routes whose requests are not checked: static files, and handlers that are marked."""
    return frozenset(filter(_is_unchecked, app.router.routes()))


def _is_unchecked(route: web.AbstractRoute) -> bool:
    return isinstance(route.resource, web.StaticResource) or hasattr(route.handler, _UNCHECKED)
