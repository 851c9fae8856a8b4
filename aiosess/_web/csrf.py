"""An application's own forms and unsafe requests, protected against cross-site request forgery."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from aiosess._token import form_token
from aiosess._web.handshake import is_foreign_handshake, is_handshake, one_text
from aiosess._web.keys import get_sessions
from aiosess._web.manager import internals_of
from aiosess.config import SessionConfig

FIELD: Final = "csrf_token"
HEADER: Final = "X-CSRF-Token"

P = ParamSpec("P")
T = TypeVar("T")


class _Html(str):
    """HTML text that Jinja and other templates with ``__html__`` insert as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def csrf_field(request: web.Request) -> str:
    """
    Return the hidden field with the form token, for a form that is sent to a ``csrf_protected`` handler.

    It goes into a Jinja template (``{{ csrf_field(request) }}``, autoescape on
    or off) and into an f-string alike. With aiohttp-jinja2:
    ``aiohttp_jinja2.get_env(app).globals["csrf_field"] = aiosess.csrf_field``.
    Its value is empty when nobody is signed in: then the origin alone decides.

    Raises:
        NotChecked: the route is ``@aiosess.unchecked``.
        NotInstalled: ``aiosess.setup()`` was not called for this application.
        StoreUnavailable: PostgreSQL did not answer; it is unknown who is asking.

    """
    return _Html(f'<input type="hidden" name="{FIELD}" value="{get_sessions(request).form_token}">')


def csrf_protected(handler: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """
    Refuse forged requests to a handler, or to a method of a ``web.View`` or of a class of handlers, with 403.

    The checks are those of ``check_csrf()``.
    """

    @wraps(handler)
    async def protected(*args: P.args, **kwargs: P.kwargs) -> T:
        last: Any = args[-1]  # the request, or the view that holds it; a method has its object before the request
        await check_csrf(last.request if isinstance(last, web.View) else last)
        return await handler(*args, **kwargs)

    return protected


async def check_csrf(request: web.Request) -> None:
    """
    Refuse a request that a page of another origin may have forged.

    GET, HEAD, OPTIONS and TRACE pass: they must change nothing. A WebSocket's
    handshake is a GET, and its ``Origin`` decides: ours, an allowed one, or
    none, for browsers always send it. Every other request needs
    ``Sec-Fetch-Site: same-origin`` or ``none``, or an ``Origin`` in
    ``allowed_origins``; from a client that does not send ``Sec-Fetch-Site``
    also an ``Origin`` equal to ours, which is made of the ``Host`` header and
    https, or http with ``insecure_cookies``. When somebody is signed in it also
    needs the form token, in the header ``X-CSRF-Token`` or the form's field
    ``csrf_token``. The body is read (``await request.post()``) only when the
    origin is good and the header absent.

    Raises:
        web.HTTPForbidden: the origin is not ours, or the form token is absent or not this session's.
        NotChecked: the route is ``@aiosess.unchecked``.
        NotInstalled: ``aiosess.setup()`` was not called for this application.
        StoreUnavailable: PostgreSQL did not answer; it is unknown who is asking.

    """
    is_safe = request.method in form_token.SAFE_METHODS
    if is_safe and not is_handshake(request.headers):
        return
    visit, call = internals_of(get_sessions(request))
    if not _comes_from_us(request, call.config, is_safe=is_safe):
        _refuse("the request does not come from a page of this site")
    if is_safe:
        return  # a script cannot send the form token with a handshake
    visit.require_known()
    row = visit.row
    if row is not None and not form_token.is_form_token(await _given_token(request), call.form_keys, row.id):
        _refuse("the form is out of date: go back, reload the page and send it again")


def _comes_from_us(request: web.Request, config: SessionConfig, *, is_safe: bool) -> bool:
    if is_safe:
        return not is_foreign_handshake(request.headers, config)
    site, origin, host = (one_text(request.headers, name) for name in ("Sec-Fetch-Site", hdrs.ORIGIN, hdrs.HOST))
    return form_token.is_same_origin(site, origin, host, config.scheme, config.origins)


async def _given_token(request: web.Request) -> str:
    given: object = one_text(request.headers, HEADER)
    if given is None:
        try:
            given = (await request.post()).get(FIELD)
        except (ValueError, LookupError, RuntimeError, HttpProcessingError):
            return ""  # a body that aiohttp cannot read holds no token
    return given if isinstance(given, str) else ""


def _refuse(why: str) -> NoReturn:
    raise web.HTTPForbidden(text=f"403: Forbidden: {why}", headers={hdrs.CACHE_CONTROL: "no-store"})
