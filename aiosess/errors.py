"""
Every error of aiosess, in one tree.

::

    Exception
     ├── SessionError            web.HTTPException; .status is the HTTP status of the response, if nobody catches it
     │    ├── NotAuthenticated   401  no user is signed in
     │    ├── SessionNotFound    404  the id names no session of this user
     │    ├── SessionRevoked     401  the session ended while this request ran
     │    ├── StoreUnavailable   503  PostgreSQL did not answer in time
     │    ├── ResponseStarted    500  the headers are sent, so the cookie cannot change
     │    └── SchemaMismatch     500  the database's tables are absent, too old or too new for this library
     ├── CsrfError          403  web.HTTPForbidden; a page of another origin may have forged the request
     ├── NotInstalled            RuntimeError; aiosess.setup(app, …) was not called
     ├── NotChecked              RuntimeError; the route is not checked, and sessions.check() was not awaited
     └── ValueError
          ├── ConfigError        an option is wrong; raised at start-up and names the option
          └── InvalidData        PostgreSQL could not keep session data or a user id exactly

A ``SessionError`` is a response too, like aiohttp's own errors, so that it keeps its status under an error middleware
that lets ``web.HTTPException`` pass and makes every other exception a 500.

No message holds a token, a secret, an id or a value of the session's data. The response says no more than its status.
"""

import json
from typing import ClassVar, Final, Literal, TypeAlias

from aiohttp import hdrs, web

__all__ = (
    "ConfigError",
    "CsrfError",
    "CsrfReason",
    "InvalidData",
    "NotAuthenticated",
    "NotChecked",
    "NotInstalled",
    "ResponseStarted",
    "SchemaMismatch",
    "SessionError",
    "SessionNotFound",
    "SessionRevoked",
    "StoreUnavailable",
)


class SessionError(web.HTTPException):
    """
    The base of the errors that a request can meet.

    It is the response that goes out if nobody catches it: its ``status``, no cache may keep it, and its body says no
    more. The message is for the log.
    """

    status_code = 500

    def __init__(self, message: str = "") -> None:
        """Take a message."""
        super().__init__(headers={hdrs.CACHE_CONTROL: "no-store"})
        self.args = (message or self.reason,)


class NotAuthenticated(SessionError, web.HTTPUnauthorized):
    """No user is signed in, and the operation needs one."""

    status_code = 401

    def __init__(self, message: str = "nobody is signed in") -> None:
        """Take a message."""
        super().__init__(message)


class SessionNotFound(SessionError, web.HTTPNotFound):
    """
    The id names no session of this user.

    Foreign, unknown, ended and malformed ids all give the same error, so that
    nobody can probe for ids (ASVS 5.0, 8.2.2).
    """

    status_code = 404

    def __init__(self, message: str = "no such session") -> None:
        """Take a message."""
        super().__init__(message)


class SessionRevoked(SessionError, web.HTTPUnauthorized):
    """
    The session ended while this request ran; aiosess wrote nothing.

    ``has_expired`` says that its time ran out. It is False if somebody ended the
    session, and also if aiosess does not know.
    """

    status_code = 401

    def __init__(self, message: str = "the session has ended", *, has_expired: bool = False) -> None:
        """Take a message."""
        super().__init__(message)
        self.has_expired = has_expired


class StoreUnavailable(SessionError, web.HTTPServiceUnavailable):
    """
    PostgreSQL did not answer before the deadline.

    The request is neither anonymous nor signed in: aiosess does not know. A write
    that raises this error may have happened or not. ``retry_after`` is the
    response's ``Retry-After``, in seconds.
    """

    status_code = 503
    retry_after: ClassVar[int] = 2  # a PostgreSQL server restarts in about that time

    def __init__(self, message: str = "the session store does not answer") -> None:
        """Take a message."""
        super().__init__(message)
        self.headers[hdrs.RETRY_AFTER] = str(self.retry_after)


class ResponseStarted(SessionError):
    """The response's headers are sent, so the cookie cannot change; aiosess wrote nothing."""

    def __init__(self, message: str = "the response has started: its cookie can no longer be changed") -> None:
        """Take a message."""
        super().__init__(message)


class SchemaMismatch(SessionError):
    """The database's tables are absent, incomplete, too old or too new for this version of aiosess."""


CsrfReason: TypeAlias = Literal["origin", "no token", "stale token"]

_CSRF_DETAILS: Final[dict[CsrfReason, str]] = {
    "origin": "the request does not come from a page of this site",
    "no token": "the request carries no form token",
    "stale token": "the form is out of date: go back, reload the page and send it again",
}


class CsrfError(web.HTTPForbidden):
    """
    A page of another origin may have forged the request (OWASP, CWE-352).

    ``reason`` says what was wrong:

    - "origin": the request does not come from a page of ours;
    - "no token": somebody is signed in, and the request has no form token;
    - "stale token": the form token is not this session's. The form was rendered
      for nobody, for another session or before a sign-in. Nobody is attacking:
      an application may show its form again with what the user has filled in.

    It is the response that goes out if nobody catches it: text, or
    ``application/problem+json`` (RFC 9457) for a client that prefers JSON.
    """

    TYPE: ClassVar = "urn:aiosess:problem:csrf"  # of the JSON

    def __init__(self, reason: CsrfReason, detail: str = "", *, as_json: bool = False) -> None:
        """Take a reason, a sentence for people, and whether the client prefers JSON."""
        self._csrf_reason: CsrfReason = reason
        detail = detail or _CSRF_DETAILS[reason]
        text, kind = f"403: Forbidden: {detail}", "text/plain"
        if as_json:
            problem = {"type": self.TYPE, "title": "Forbidden", "status": 403, "detail": detail}
            text, kind = json.dumps(problem | {"reason": reason}), "application/problem+json"
        super().__init__(headers={hdrs.CACHE_CONTROL: "no-store"}, text=text, content_type=kind)
        self.args = (detail,)

    @property
    def reason(self) -> CsrfReason:
        """Why the request was refused; the status line says "Forbidden" as usual."""
        return self._csrf_reason


class NotInstalled(RuntimeError):
    """``aiosess.setup(app, …)`` was not called for the application that got this request."""

    def __init__(self) -> None:
        """Name the remedy."""
        super().__init__("aiosess is not installed in this application: call aiosess.setup(app, …) before it starts")


class NotChecked(RuntimeError):
    """The request is not checked: its route is ``@aiosess.unchecked`` or serves static files."""

    def __init__(self) -> None:
        """Name the remedy."""
        super().__init__("requests to this route are not checked: await request['sessions'].check() first")


class ConfigError(ValueError):
    """An option of ``setup()`` or ``SessionConfig`` is wrong; the message names it."""


class InvalidData(ValueError):
    """PostgreSQL would refuse this session data or user id, or would return it changed."""
