"""
Login sessions for aiohttp, kept in PostgreSQL: listed, revoked and rotated, and checked on every request.

::

    app = web.Application()
    aiosess.setup(app, dsn="postgresql://…", secret=os.environ["AIOSESS_SECRET"])

    async def login(request):
        user = await check_password(request)
        await request["sessions"].authenticate(user.id)
        raise web.HTTPFound("/")

Every public name is here. The modules without an underscore hold the same names by subject. Only ``aiosess.embedded``
has to be imported by itself, because it needs an extra.
"""

from aiosess import config, devices, errors, events, logs, session, store
from aiosess._postgres.schema import schema_sql
from aiosess._web.csrf import check_csrf, csrf_field, csrf_protected
from aiosess._web.handlers import background, unchecked
from aiosess._web.keys import SESSIONS, STORE, get_sessions
from aiosess._web.manager import SessionManager
from aiosess._web.setup import setup
from aiosess.config import Fingerprint, SameSite, SessionConfig
from aiosess.devices import device_list, local_path, relative_path, setup_devices
from aiosess.errors import (
    ConfigError,
    CsrfError,
    CsrfReason,
    InvalidData,
    NotAuthenticated,
    NotChecked,
    NotInstalled,
    ResponseStarted,
    SchemaMismatch,
    SessionError,
    SessionNotFound,
    SessionRevoked,
    StoreUnavailable,
)
from aiosess.events import (
    AllRevoked,
    CookieConflicted,
    Created,
    Event,
    Evicted,
    Expired,
    FingerprintChanged,
    NewDevice,
    OldSecretPresented,
    Origin,
    Reason,
    ReuseDetected,
    Revoked,
    Rotated,
    SessionEvent,
    WentBack,
)
from aiosess.logs import RedactTokens
from aiosess.session import DeviceType, Session, SessionPage, Tally
from aiosess.store import SessionStore, open_store

__all__ = (
    "SESSIONS",
    "STORE",
    "AllRevoked",
    "ConfigError",
    "CookieConflicted",
    "Created",
    "CsrfError",
    "CsrfReason",
    "DeviceType",
    "Event",
    "Evicted",
    "Expired",
    "Fingerprint",
    "FingerprintChanged",
    "InvalidData",
    "NewDevice",
    "NotAuthenticated",
    "NotChecked",
    "NotInstalled",
    "OldSecretPresented",
    "Origin",
    "Reason",
    "RedactTokens",
    "ResponseStarted",
    "ReuseDetected",
    "Revoked",
    "Rotated",
    "SameSite",
    "SchemaMismatch",
    "Session",
    "SessionConfig",
    "SessionError",
    "SessionEvent",
    "SessionManager",
    "SessionNotFound",
    "SessionPage",
    "SessionRevoked",
    "SessionStore",
    "StoreUnavailable",
    "Tally",
    "WentBack",
    "background",
    "check_csrf",
    "config",
    "csrf_field",
    "csrf_protected",
    "device_list",
    "devices",
    "errors",
    "events",
    "get_sessions",
    "local_path",
    "logs",
    "open_store",
    "relative_path",
    "schema_sql",
    "session",
    "setup",
    "setup_devices",
    "store",
    "unchecked",
)
