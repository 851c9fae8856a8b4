"""
Login sessions for aiohttp, kept in PostgreSQL: listed, revoked and rotated, and checked on every request.

::

    app = web.Application()
    aiosess.setup(app, dsn="postgresql://…", secret=os.environ["AIOSESS_SECRET"])

    async def login(request):
        user = await check_password(request)
        await request["sessions"].authenticate(user.id)
        raise web.HTTPFound("/")
"""

from typing import TYPE_CHECKING

from aiosess._postgres.schema import schema_sql
from aiosess._postgres.store import SessionStore
from aiosess._web.csrf import check_csrf, csrf_field, csrf_protected
from aiosess._web.keys import SESSIONS, STORE, get_sessions
from aiosess._web.manager import SessionManager
from aiosess._web.setup import setup, unchecked
from aiosess.config import SessionConfig
from aiosess.errors import (
    ConfigError,
    InvalidData,
    NotAuthenticated,
    NotInstalled,
    ResponseStarted,
    SchemaMismatch,
    SessionError,
    SessionNotFound,
    SessionRevoked,
    StoreUnavailable,
)
from aiosess.session import Session

if TYPE_CHECKING:
    from aiosess.devices import setup_devices

__all__ = (
    "SESSIONS",
    "STORE",
    "ConfigError",
    "InvalidData",
    "NotAuthenticated",
    "NotInstalled",
    "ResponseStarted",
    "SchemaMismatch",
    "Session",
    "SessionConfig",
    "SessionError",
    "SessionManager",
    "SessionNotFound",
    "SessionRevoked",
    "SessionStore",
    "StoreUnavailable",
    "check_csrf",
    "csrf_field",
    "csrf_protected",
    "get_sessions",
    "schema_sql",
    "setup",
    "setup_devices",
    "unchecked",
)


def __getattr__(name: str) -> object:
    """Import the devices page when it is asked for: without it, nobody needs Jinja."""
    if name == "setup_devices":
        from aiosess.devices import setup_devices  # noqa: PLC0415 - see above

        return setup_devices
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
