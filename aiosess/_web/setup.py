"""``setup()``: sessions in an application, in one line."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from aiosess._postgres.connections import Pool
from aiosess._token.keys import Keyring
from aiosess._web.installation import Installation
from aiosess._web.keys import STORE
from aiosess.config import SessionConfig
from aiosess.errors import ConfigError


def setup(
    app: web.Application,
    *,
    secret: str | bytes | Sequence[str | bytes],
    dsn: str | None = None,
    pool: Pool | web.AppKey[Pool] | None = None,
    config: SessionConfig | None = None,
    **options: Any,  # noqa: ANN401 - any option of SessionConfig
) -> None:
    """
    Install sessions in an application: afterwards handlers have ``request["sessions"]``.

    The middleware is put before all others, so that they have the session too. The
    tables are made at start-up (``migrate``). A server that is down at
    start-up is waited for; until then, pages that touch the session are 503.

    Hooks that the application appends to ``on_response_prepare`` later see
    the cookie, and must leave ``Set-Cookie`` and ``Cache-Control: no-store`` alone.

    Args:
        app: The application, or a sub-application, before it starts.
        secret: At least 32 bytes of random text, or a list of several while a new one takes over:
            the first one signs, all verify. docs/secrets.md has the steps that sign nobody out.
            What cannot be random is refused, and a line feed at its end.
        dsn: Where PostgreSQL is; a pool of our own is made and closed.
        pool: A pool of the application instead, or the ``web.AppKey`` under which it is by start-up;
            it is never closed.
        config: The options; single ones may follow by name.
        **options: Any option of ``SessionConfig``.

    Raises:
        ConfigError: an option is wrong, unknown, or missing; the message names it.

    """
    if STORE in app:
        message = "aiosess.setup() was called twice for this application"
        raise ConfigError(message)
    if app.pre_frozen:
        message = "aiosess.setup() must be called before the application starts or is added to another"
        raise ConfigError(message)
    if (dsn is None) == (pool is None):
        message = "dsn, pool: give exactly one of the two"
        raise ConfigError(message)
    source = pool if dsn is None else dsn
    assert source is not None, "one of the two was given"  # noqa: S101 - for the type checker
    _check_kind("dsn", dsn, str)
    _check_kind("pool", pool, (Pool, web.AppKey))
    _check_kind("config", config, SessionConfig)
    final = (config or SessionConfig()).with_options(options)
    Installation(app, Keyring(secret), final, source)


def _check_kind(option: str, value: object, kind: Any) -> None:  # noqa: ANN401 - a type or several
    if value is not None and not isinstance(value, kind):
        message = f"{option}: must not be of the type {type(value).__name__}"
        raise ConfigError(message)
