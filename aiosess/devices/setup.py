"""``setup_devices()`` adds the page to an application; ``device_list()`` puts its list into another page."""

import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from importlib import resources
from keyword import iskeyword
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup

from aiosess._web.handlers import unchecked
from aiosess._web.redirects import local_path, relative_path
from aiosess.devices.assets import load_assets
from aiosess.devices.geoip import GeoIPFile
from aiosess.devices.responses import HEADERS, Responses
from aiosess.devices.texts import Texts, translations
from aiosess.devices.updates import OpenPages
from aiosess.devices.views import PageOptions, Views
from aiosess.errors import ConfigError, NotInstalled

DEVICES: Final = web.AppKey("aiosess_devices", Views)

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
# The first part of a path that begins at the page's application: not empty, and no scheme.
_RELATIVE: Final = re.compile(r"[^/?#:]+(?=[/?#]|$)")
# The routes' names behind that of the page.
_ROUTES: Final = (
    *("slash", "end", "end_others", "sign_out_everywhere", "list", "events", "openapi"),
    *("css", "js", "svg"),
)


def setup_devices(  # noqa: PLR0913 - options by name
    app: web.Application,
    path: str = "/account/devices",
    *,
    reauthenticate: str | None = None,
    fresh_within: timedelta = timedelta(minutes=15),
    geoip: str | os.PathLike[str] | None = None,
    texts: Texts | None = None,
    after_logout: str = "/",
    name: str = "aiosess_devices",
) -> None:
    """
    Give an application the page where users see and end their sessions.

    The application overrides a template with one of its own that has the same name, ``aiosess/…``; it may extend the
    original (``{% extends "!aiosess/layout.html" %}``). A request without a session gets a 401, raised as
    ``HTTPUnauthorized``, so a middleware can redirect it to the sign-in page.

    All links and redirects are relative, so the page works behind a proxy that strips a prefix of the path or keeps it.
    Paths in the options are those that the application sees. With a slash at the beginning they start at the outermost
    application, without one at ``app``: ``"login"`` in a sub-application at ``/me`` is ``/me/login``.

    The routes have names, for ``app.router["aiosess_devices"].url_for()``: ``aiosess_devices`` is the page, and
    ``…_slash`` (redirects to it), ``…_end`` (with ``id``), ``…_end_others``, ``…_sign_out_everywhere``, ``…_list``,
    ``…_events``, ``…_openapi``, ``…_css``, ``…_js`` and ``…_svg`` belong to it.

    Args:
        app: The application, or a sub-application. It or one above it calls ``aiosess.setup()``.
        path: The path of the page.
        reauthenticate: The path of the application's own page that asks for the password again and
            calls ``reauthenticated()``. The page adds ``?next=<path>``, to return to; read it with
            ``aiosess.devices.local_path()``. By default, users have to sign out and in again.
        fresh_within: How recent the sign-in must be to end another session (ASVS 5.0, 7.5.2).
        geoip: A GeoLite2 or GeoIP2 file, to show the places of addresses; needs ``aiosess[geoip]``.
        texts: Texts that replace those of aiosess or add languages: ``{"en": {"title": "Your sign-ins"}}``.
        after_logout: The path to redirect to after this browser signed out.
        name: The name of the page's route, with which the other names begin.

    Raises:
        ConfigError: an option is wrong, or the application has the page already; the message names it.

    """
    if DEVICES in app:
        message = "aiosess.setup_devices() was called twice for this application"
        raise ConfigError(message)
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        message = f"path: must be like '/account/devices', not {path!r}"
        raise ConfigError(message)
    if not isinstance(fresh_within, timedelta) or fresh_within <= timedelta(0):
        message = "fresh_within: must be a positive datetime.timedelta"
        raise ConfigError(message)
    _check_name(app.router, name)
    options = PageOptions(
        reauthenticate=None if reauthenticate is None else _checked_path("reauthenticate", reauthenticate),
        fresh_within=fresh_within,
        after_logout=_checked_path("after_logout", after_logout),
    )
    file = None if geoip is None else GeoIPFile(geoip)
    responses = Responses(options.after_logout, translations(texts), None if file is None else file.find_place)
    app[DEVICES] = views = Views(options, responses, OpenPages())
    _add_routes(app.router, path, name, views, responses)
    app.on_shutdown.append(views.open_pages.close)
    if file is not None:
        app.on_cleanup.append(_closing(file))


async def device_list(request: web.Request) -> Markup:
    """
    Return the list as HTML, for a page of the application: ``{{ devices }}``.

    The HTML contains the links to its stylesheet and script. If the page has a
    Content-Security-Policy, it must allow ``'self'`` for styles, scripts and
    connections.

    Raises:
        NotAuthenticated: no user is signed in.
        NotInstalled: neither this application nor one above it has called ``aiosess.setup_devices()``.
        StoreUnavailable: PostgreSQL does not answer.

    """
    views = request.config_dict.get(DEVICES)
    if views is None:
        raise NotInstalled
    return await views.embedded(request)


def _checked_path(option: str, path: str) -> str:
    """Return a path to redirect to, if it belongs to this site."""
    whole = f"/{path}" if isinstance(path, str) and _RELATIVE.match(path) else path
    if not isinstance(whole, str) or not whole or local_path(whole, "") != whole:
        message = f"{option}: must be a path of this site, like '/sign-in', not {path!r}"
        raise ConfigError(message)
    return path


def _check_name(router: web.UrlDispatcher, name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
        message = f"name: must be an identifier, like 'aiosess_devices', not {name!r}"
        raise ConfigError(message)
    taken = sorted(known for known in router.named_resources() if known in _names(name))
    if taken:
        message = f"name: the application has a route with the name {taken[0]!r} already"
        raise ConfigError(message)


def _names(name: str) -> set[str]:
    """Return the names of all routes."""
    return {name, *(f"{name}_{route}" for route in _ROUTES)}


def _add_routes(router: web.UrlDispatcher, path: str, name: str, views: Views, responses: Responses) -> None:
    root = router.add_get(path, views.show, name=name).resource
    assert root is not None, "a route that was added has its resource"  # noqa: S101 - for the type checker
    responses.root, responses.mount = root, path
    router.add_get(f"{path}/", _without_slash(responses), name=f"{name}_slash")
    for below, ask, do in (
        ("{id}/end", views.ask_end, views.end),
        ("end-others", views.ask_end_others, views.end_others),
        ("sign-out-everywhere", views.ask_everywhere, views.sign_out_everywhere),
    ):
        route = f"{name}_{below.removeprefix('{id}/').replace('-', '_')}"
        router.add_get(f"{path}/{below}", ask, name=route)
        router.add_post(f"{path}/{below}", do, name=route)
    router.add_get(f"{path}/list", views.show_list, name=f"{name}_list")
    router.add_get(f"{path}/events", views.events, allow_head=False, name=f"{name}_events")
    router.add_get(f"{path}/openapi.json", _openapi(responses), name=f"{name}_openapi")
    for file, asset in load_assets().items():
        router.add_get(f"{path}/{file}", asset.serve, name=f"{name}_{file.rpartition('.')[2]}")
        responses.versions[file] = asset.version


def _without_slash(responses: Responses) -> Callable[[web.Request], Any]:
    """Return the handler that redirects from the page's path with a slash at its end."""

    @unchecked
    async def lead(request: web.Request) -> web.Response:
        query = request.rel_url.raw_query_string
        target = responses.path(f"?{query}" if query else "")
        raise web.HTTPPermanentRedirect(responses.link(request, target), headers=HEADERS)

    return lead


def _openapi(responses: Responses) -> Callable[[web.Request], Any]:
    """Return the handler of the OpenAPI description, which contains the page's own path."""
    described = json.loads(resources.files("aiosess.devices").joinpath("openapi.json").read_text(encoding="utf-8"))

    @unchecked
    async def describe(request: web.Request) -> web.Response:
        paths = {responses.path(below): item for below, item in described["paths"].items()}
        # Relative to this document's address (OpenAPI 3.1, 4.8.5); the paths are appended to it.
        servers = [{"url": relative_path(request, "/").removesuffix("/")}]
        return web.json_response(
            {**described, "servers": servers, "paths": paths}, headers={"X-Content-Type-Options": "nosniff"}
        )

    return describe


def _closing(file: GeoIPFile) -> Callable[[web.Application], Any]:
    async def close(_app: web.Application) -> None:
        file.close()

    return close
