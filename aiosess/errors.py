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
     ├── NotInstalled            RuntimeError; aiosess.setup(app, …) was not called
     ├── NotChecked              RuntimeError; the route is not checked, and sessions.check() was not awaited
     └── ValueError
          ├── ConfigError        an option is wrong; raised at start-up and names the option
          └── InvalidData        PostgreSQL could not keep session data or a user id exactly

A ``SessionError`` is a response too, like aiohttp's own errors, so that it keeps its status under an error middleware
that lets ``web.HTTPException`` pass and makes every other exception a 500.

No message holds a token, a secret, an id or a value of the session's data. The response says no more than its status.
"""

from typing import ClassVar

from aiohttp import hdrs, web

__all__ = (
    "ConfigError",
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
