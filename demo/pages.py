"""Pages: templates, times in words, and error pages."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

import aiosess
from aiosess.devices import local_path
from demo.accounts import AccountsUnavailable

log = logging.getLogger("demo")

HERE = Path(__file__).parent
COOKIE = web.AppKey("cookie", str)  # the name of the session cookie
RETRY_AFTER = str(aiosess.StoreUnavailable.retry_after)  # seconds
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# No inline style or script, no content of other origins, no frame around the page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    # "no-referrer" would make browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_MINUTE, _HOUR, _DAY, _MONTH = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30)

# The text of an error page, for statuses that need more than their phrase.
_EXPLANATIONS = {
    HTTPStatus.FORBIDDEN: "The request came from another site, or the page was out of date. Nothing was done.",
    HTTPStatus.NOT_FOUND: "There is nothing here. If it was a session, it has already ended.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong on our side. The reason is in the terminal.",
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "The database does not answer, so we cannot check who you are. Nobody was signed out. Please try again in a "
        "moment."
    ),
}


def install(app: web.Application, **known: object) -> None:
    """Set up the templates with their common values, and the security headers of all responses."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        filters={"ago": ago, "exactly": exactly},
    )
    environment.globals.update(csrf_field=aiosess.csrf_field, **known)
    app.on_response_prepare.append(_add_headers)


async def _add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add the headers to each response, errors and files included; keep those that the devices page has set."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def page(request: web.Request, name: str, context: Mapping[str, Any], status: int = HTTPStatus.OK) -> web.Response:
    """Return a page that browsers do not store, so that nobody can go back to it after signing out."""
    # aiohttp-jinja2's context processors set a text key on the request, and aiohttp warns about it.
    context = {"request": request, **context}
    response = aiohttp_jinja2.render_template(f"{name}.html", request, context, status=status)
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    return response


def ago(instant: datetime) -> str:
    """Return a span like "2 hours ago", or a date."""
    span = datetime.now(UTC) - instant
    if span > _MONTH:
        return f"on {instant.day} {instant:%B %Y}"
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if span >= unit:
            count = span // unit
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"


def exactly(instant: datetime) -> str:
    """Return an instant to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@web.middleware
async def error_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn an error into a page; redirect a user who is not signed in to the sign-in page."""
    try:
        return await handler(request)
    except (aiosess.NotAuthenticated, aiosess.SessionRevoked, web.HTTPUnauthorized) as error:
        raise _to_sign_in(request) from error
    except aiosess.SessionError as error:
        return _error_page(request, error.status)
    except AccountsUnavailable as error:
        log.error("%s", error)  # noqa: TRY400 - a traceback says no more
        return _error_page(request, HTTPStatus.SERVICE_UNAVAILABLE)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        response = _error_page(request, error.status)
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return _error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR)


def _to_sign_in(request: web.Request) -> web.HTTPSeeOther:
    """Redirect to the sign-in page; after the sign-in it returns to the requested page."""
    address = f"/sign-in?{urlencode({'next': _page_of(request)})}"
    return web.HTTPSeeOther(address, headers={hdrs.CACHE_CONTROL: "no-store"})


def _page_of(request: web.Request) -> str:
    """Return the requested page, or the page with the form that the browser sent."""
    if request.method in SAFE_METHODS:
        return local_path(request.path)
    return "/notes" if request.path.startswith("/notes") else "/"


def _error_page(request: web.Request, code: int) -> web.Response:
    # This page needs no session, because it is also shown during an outage.
    status = HTTPStatus(code)
    context = {
        "status": status,
        "explanation": _EXPLANATIONS.get(status, status.description or "Something went wrong."),
        "again": request.path if request.method in SAFE_METHODS else None,
    }
    response = page(request, "error", context, status)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers[hdrs.RETRY_AFTER] = RETRY_AFTER
    return response
