"""
Every error of aiosess, in one tree.

::

    Exception
     ├── SessionError            .status is the HTTP status of the response, if a handler does not catch the error
     │    ├── NotAuthenticated   401  no user is signed in
     │    ├── SessionNotFound    404  the id names no session of this user
     │    ├── SessionRevoked     401  the session ended while this request ran
     │    ├── StoreUnavailable   503  PostgreSQL did not answer in time
     │    ├── ResponseStarted    500  the headers are sent, so the cookie cannot change
     │    └── SchemaMismatch     500  the database's tables are absent, too old or too new for this library
     ├── NotInstalled            RuntimeError; aiosess.setup(app, …) was not called
     └── ValueError
          ├── ConfigError        an option is wrong; raised at start-up and names the option
          └── InvalidData        PostgreSQL could not keep session data or a user id exactly

No message holds a token, a secret, an id or a value of the session's data.
"""

from typing import ClassVar

__all__ = (
    "ConfigError",
    "InvalidData",
    "NotAuthenticated",
    "NotInstalled",
    "ResponseStarted",
    "SchemaMismatch",
    "SessionError",
    "SessionNotFound",
    "SessionRevoked",
    "StoreUnavailable",
)


class SessionError(Exception):
    """The base of the errors that a request can meet; ``status`` is the HTTP status of the response."""

    status = 500


class NotAuthenticated(SessionError):
    """No user is signed in, and the operation needs one."""

    status = 401

    def __init__(self, message: str = "nobody is signed in") -> None:
        """Take a message."""
        super().__init__(message)


class SessionNotFound(SessionError):
    """
    The id names no session of this user.

    Foreign, unknown, ended and malformed ids all give the same error, so that
    nobody can probe for ids (ASVS 5.0, 8.2.2).
    """

    status = 404

    def __init__(self, message: str = "no such session") -> None:
        """Take a message."""
        super().__init__(message)


class SessionRevoked(SessionError):
    """The session ended while this request ran; aiosess wrote nothing."""

    status = 401

    def __init__(self, message: str = "the session has ended") -> None:
        """Take a message."""
        super().__init__(message)


class StoreUnavailable(SessionError):
    """
    PostgreSQL did not answer before the deadline.

    The request is neither anonymous nor signed in: aiosess does not know. A write
    that raises this error may have happened or not. ``retry_after`` is the
    response's ``Retry-After``, in seconds.
    """

    status = 503
    retry_after: ClassVar[int] = 2  # a PostgreSQL server restarts in about that time

    def __init__(self, message: str = "the session store does not answer") -> None:
        """Take a message."""
        super().__init__(message)


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


class ConfigError(ValueError):
    """An option of ``setup()`` or ``SessionConfig`` is wrong; the message names it."""


class InvalidData(ValueError):
    """PostgreSQL would refuse this session data or user id, or would return it changed."""
