"""
Every error of aiosess, in one tree.

::

    Exception
     ├── SessionError            .status is the HTTP status it becomes when it leaves a handler
     │    ├── NotAuthenticated   401  nobody is signed in
     │    ├── SessionNotFound    404  not one of this user's sessions (or no session at all)
     │    ├── SessionRevoked     401  the session ended while this request ran
     │    ├── StoreUnavailable   503  PostgreSQL did not answer, or not in time
     │    ├── ResponseStarted    500  the headers are out: the cookie can no longer be changed
     │    └── SchemaMismatch     500  the database's schema is absent, older or newer than this library's
     ├── NotInstalled            RuntimeError; aiosess.setup(app, …) was not called
     └── ValueError
          ├── ConfigError        an option is wrong; raised at start-up and names the option
          └── InvalidData        session data or a user id that PostgreSQL could not keep exactly

No message holds a token, a secret, an id or a value of the session's data.
"""

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
    """Base of what can go wrong with a session while a request runs."""

    status = 500


class NotAuthenticated(SessionError):
    """Nobody is signed in, and the operation needs somebody who is."""

    status = 401

    def __init__(self, message: str = "nobody is signed in") -> None:
        """Say that nobody is signed in."""
        super().__init__(message)


class SessionNotFound(SessionError):
    """
    The id names no session of this user.

    Unknown, malformed, ended and foreign ids are told apart by nothing, so
    that ids cannot be probed (ASVS 5.0, 8.2.2).
    """

    status = 404

    def __init__(self, message: str = "no such session") -> None:
        """Say that there is no such session."""
        super().__init__(message)


class SessionRevoked(SessionError):
    """The session ended while this request ran; nothing was written."""

    status = 401

    def __init__(self, message: str = "the session has ended") -> None:
        """Say that the session has ended."""
        super().__init__(message)


class StoreUnavailable(SessionError):
    """
    PostgreSQL did not answer, or not within the deadline.

    It is unknown who is asking: neither anonymous nor signed in. A write that
    raises this may or may not have been carried out.
    """

    status = 503

    def __init__(self, message: str = "the session store does not answer") -> None:
        """Say that the store does not answer."""
        super().__init__(message)


class ResponseStarted(SessionError):
    """The response's headers are out, so the cookie cannot change any more; nothing was written."""

    def __init__(self, message: str = "the response has started: its cookie can no longer be changed") -> None:
        """Say that it is too late."""
        super().__init__(message)


class SchemaMismatch(SessionError):
    """The database's schema is absent, incomplete, older or newer than this version of aiosess needs."""


class NotInstalled(RuntimeError):
    """``aiosess.setup(app, …)`` was not called for the application that got this request."""

    def __init__(self) -> None:
        """Name the remedy."""
        super().__init__("aiosess is not installed in this application: call aiosess.setup(app, …) before it starts")


class ConfigError(ValueError):
    """An option of ``setup()`` or ``SessionConfig`` is wrong; the message names it."""


class InvalidData(ValueError):
    """Session data or a user id that PostgreSQL would refuse, or would not give back exactly as it was."""
