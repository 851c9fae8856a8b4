"""``setup_devices()``: the page in an application, and the list in a page of the application's own."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup

from aiosess._web.redirects import local_path
from aiosess._web.setup import unchecked
from aiosess.devices.assets import load_assets
from aiosess.devices.geoip import Places
from aiosess.devices.responses import Answers
from aiosess.devices.texts import Texts, speeches
from aiosess.devices.updates import Watch
from aiosess.devices.views import Rules, Views
from aiosess.errors import ConfigError, NotInstalled

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def setup_devices(  # noqa: PLR0913 - options by name
    app: web.Application,
    path: str = "/account/devices",
    *,
    reauthenticate: str | None = None,
    fresh_within: timedelta = timedelta(minutes=15),
    geoip: str | os.PathLike[str] | None = None,
    texts: Texts | None = None,
    after_logout: str = "/",
) -> None:
    """
    Give an application with sessions a page where users see and end theirs.

    Templates named ``aiosess/…`` among the application's own override ours, whole or block by block
    (``{% extends "!aiosess/layout.html" %}``). Whoever is not signed in gets a 401, raised as ``HTTPUnauthorized``, so
    that a middleware may lead to the sign-in page.

    Args:
        app: The application, or a sub-application; ``aiosess.setup()`` is called for it or for one above it.
        path: Where the page is.
        reauthenticate: The path of the application's own page that asks again who the user is, and then
            calls ``reauthenticated()``. ``?next=<path>`` is added: where to go on; read it with
            ``aiosess.devices.local_path()``. Without one, a page asks to sign out and in again.
        fresh_within: How recent that proof must be to end other sessions (ASVS 5.0, 7.5.2).
        geoip: A GeoLite2 or GeoIP2 file, to show where an address is; needs ``aiosess[geoip]``.
        texts: Texts to use instead of ours, or of other languages: ``{"en": {"title": "Your sign-ins"}}``.
        after_logout: The path to go to when this browser was signed out.

    Raises:
        ConfigError: an option is wrong, or the page was set up before; the message names it.

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
    rules = Rules(_own("reauthenticate", reauthenticate), fresh_within, _own("after_logout", after_logout) or "/")
    places = None if geoip is None else Places(geoip)
    answers = Answers(rules.after_logout, speeches(texts), None if places is None else places.place)
    app[DEVICES] = installed = _Installed(Views(rules, answers, Watch()))
    _mount(app, path, installed.views, answers)
    app.on_shutdown.append(installed.views.watch.close)
    if places is not None:
        app.on_cleanup.append(_closing(places))


async def device_list(request: web.Request) -> Markup:
    """
    Return the list, to be put into a page of the application's own: ``{{ devices }}``.

    It brings the links to its stylesheet and script along. The page needs a
    Content-Security-Policy that has ``'self'`` for styles, scripts and
    connections, if it has one.

    Raises:
        NotAuthenticated: nobody is signed in.
        NotInstalled: neither this application nor one above it has called ``aiosess.setup_devices()``.
        StoreUnavailable: PostgreSQL does not answer.

    """
    installed = request.config_dict.get(DEVICES)
    if installed is None:
        raise NotInstalled
    return await installed.views.embedded(request)


@dataclass(frozen=True, slots=True)
class _Installed:
    views: Views


DEVICES: Final = web.AppKey("aiosess_devices", _Installed)


def _own(option: str, path: str | None) -> str | None:
    """Check a path that visitors are led to."""
    if path is not None and (not isinstance(path, str) or local_path(path, "") != path):
        message = f"{option}: must be a path of this site, like '/sign-in', not {path!r}"
        raise ConfigError(message)
    return path


def _mount(app: web.Application, path: str, views: Views, answers: Answers) -> None:
    router = app.router
    root = router.add_get(path, views.show).resource
    assert root is not None, "a route that was added has its resource"  # noqa: S101 - for the type checker
    answers.root = root
    for below, ask, do in (
        ("/{id}/end", views.ask_end, views.end),
        ("/end-others", views.ask_end_others, views.end_others),
        ("/sign-out-everywhere", views.ask_everywhere, views.sign_out_everywhere),
    ):
        router.add_get(path + below, ask)
        router.add_post(path + below, do)
    router.add_get(f"{path}/list", views.fragment)
    router.add_get(f"{path}/events", views.events, allow_head=False)
    router.add_get(f"{path}/openapi.json", _description(answers))
    for name, asset in load_assets().items():
        router.add_get(f"{path}/{name}", asset.serve)
        answers.versions[name] = asset.version


def _description(answers: Answers) -> Callable[[web.Request], Any]:
    """Return what serves the OpenAPI description, with the page's own path in it."""
    described = json.loads(resources.files("aiosess.devices").joinpath("openapi.json").read_text(encoding="utf-8"))

    @unchecked
    async def describe(_request: web.Request) -> web.Response:
        paths = {answers.path(below): item for below, item in described["paths"].items()}
        return web.json_response({**described, "paths": paths}, headers={"X-Content-Type-Options": "nosniff"})

    return describe


def _closing(places: Places) -> Callable[[web.Application], Any]:
    async def close(_app: web.Application) -> None:
        places.close()

    return close
