"""An application's own forms and unsafe requests, protected against cross-site request forgery."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, overload

from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from aiosess._client.negotiation import wants_json
from aiosess._client.origin import is_our_origin
from aiosess._token import form_token
from aiosess._web.handshake import is_foreign_handshake, is_handshake, one_text
from aiosess._web.keys import get_sessions
from aiosess._web.manager import internals_of
from aiosess.config import SessionConfig
from aiosess.errors import CsrfError, CsrfReason

FIELD: Final = "csrf_token"
HEADER: Final = "X-CSRF-Token"

_PLAIN_HTTP: Final = "the page came over plain http: serve it over https (in development: insecure_cookies=True)"

P = ParamSpec("P")
T = TypeVar("T")

_Handler: TypeAlias = Callable[P, Awaitable[T]]
_Protected: TypeAlias = Callable[P, Coroutine[Any, Any, T]]


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
    Otherwise it is another text in each field, so that a compressed page does
    not give the form token away (BREACH); all of them are good as long as the
    session lives.

    Raises:
        NotChecked: the route is ``@aiosess.unchecked``.
        NotInstalled: ``aiosess.setup()`` was not called for this application.
        StoreUnavailable: PostgreSQL did not answer; it is unknown who is asking.

    """
    visit, call = internals_of(get_sessions(request))
    visit.require_known()
    token = "" if visit.row is None else form_token.masked_form_token(call.form_keys[0], visit.row.id)
    return _Html(f'<input type="hidden" name="{FIELD}" value="{token}">')


@overload
def csrf_protected(handler: _Handler[P, T], /) -> _Protected[P, T]: ...


@overload
def csrf_protected(*, sign_in: bool = False) -> Callable[[_Handler[P, T]], _Protected[P, T]]: ...


def csrf_protected(handler: _Handler[P, T] | None = None, /, *, sign_in: bool = False) -> Any:
    """
    Refuse forged requests to a handler, or to a method of a ``web.View`` or of a class of handlers, with 403.

    ``@aiosess.csrf_protected`` or ``@aiosess.csrf_protected(sign_in=True)``. The
    checks, the option and the errors are those of ``check_csrf()``.
    """

    def protect(handler: _Handler[P, T]) -> _Protected[P, T]:
        @wraps(handler)
        async def protected(*args: P.args, **kwargs: P.kwargs) -> T:
            last: Any = args[-1]  # the request, or the view that holds it; a method has its object before the request
            await check_csrf(last.request if isinstance(last, web.View) else last, sign_in=sign_in)
            return await handler(*args, **kwargs)

        return protected

    return protect if handler is None else protect(handler)


async def check_csrf(request: web.Request, *, sign_in: bool = False) -> None:
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

    Args:
        request: The request.
        sign_in: The handler signs a user in: the origin alone decides, whoever is signed in already. The form of a
            sign-in is often rendered for nobody and sent by somebody: when the user has signed in with another tab
            meanwhile, or has come by a link from another site with ``SameSite=Strict``.

    Raises:
        CsrfError: the origin is not ours, or the form token is absent or not this session's.
        NotChecked: the route is ``@aiosess.unchecked``.
        NotInstalled: ``aiosess.setup()`` was not called for this application.
        StoreUnavailable: PostgreSQL did not answer; it is unknown who is asking.

    """
    is_safe = request.method in form_token.SAFE_METHODS
    if is_safe and not is_handshake(request.headers):
        return
    visit, call = internals_of(get_sessions(request))
    if not _comes_from_us(request, call.config, is_safe=is_safe):
        raise _refusal(request, "origin", _PLAIN_HTTP if _comes_over_http(request, call.config) else "")
    if is_safe or sign_in:
        return  # a script cannot send the form token with a handshake
    visit.require_known()
    row = visit.row
    if row is None:
        return
    given = await _given_token(request)
    if given is None:
        raise _refusal(request, "no token")
    if not form_token.is_form_token(given, call.form_keys, row.id):
        raise _refusal(request, "stale token")


def _comes_from_us(request: web.Request, config: SessionConfig, *, is_safe: bool) -> bool:
    if is_safe:
        return not is_foreign_handshake(request.headers, config)
    site, origin, host = (one_text(request.headers, name) for name in ("Sec-Fetch-Site", hdrs.ORIGIN, hdrs.HOST))
    return form_token.is_same_origin(site, origin, host, config.scheme, config.origins)


def _comes_over_http(request: web.Request, config: SessionConfig) -> bool:
    """Say whether the page is ours but for its scheme: a set-up without TLS, and not an attack."""
    origin, host = (one_text(request.headers, name) for name in (hdrs.ORIGIN, hdrs.HOST))
    return config.scheme == "https" and is_our_origin(origin, host, "http", ())


async def _given_token(request: web.Request) -> str | None:
    """Return the text that came as the form token; None, if none came."""
    given: object = one_text(request.headers, HEADER)
    if given is None:
        try:
            given = (await request.post()).get(FIELD)
        except (ValueError, LookupError, RuntimeError, HttpProcessingError):
            return None  # a body that aiohttp cannot read holds no token
    return given if isinstance(given, str) else None


def _refusal(request: web.Request, reason: CsrfReason, detail: str = "") -> CsrfError:
    accept = one_text(request.headers, hdrs.ACCEPT) or ""
    return CsrfError(reason, detail, as_json=wants_json(accept))
