"""
The options of aiosess: one frozen dataclass, which checks them once at start-up.

Numbers name their source. The presets have the limits of NIST SP 800-63B-4.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Literal, NoReturn, Self, TypeVar, get_args

from aiosess._client.address import Proxy, parse_networks
from aiosess._client.origin import parse_origins
from aiosess.errors import ConfigError
from aiosess.events import Event

__all__ = ("Fingerprint", "SameSite", "SessionConfig")

Fingerprint = Literal["report", "enforce", "off"]
SameSite = Literal["Lax", "Strict"]

T = TypeVar("T")

# RFC 6265bis 5.6.2: browsers cap a cookie's age at 400 days, so a longer session would outlive its cookie.
LONGEST_SESSION: Final = timedelta(days=400)

# Counts become arguments of queries, where PostgreSQL's int has 32 bits.
_LARGEST_COUNT: Final = 2**31 - 1

# RFC 6265bis 4.1.1: a cookie's name is an RFC 9110 token.
_COOKIE_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
# A session whose cookie ends with the browser has a second cookie, named after the first.
VERSION_SUFFIX: Final = "-version"
# PostgreSQL cuts identifiers at 63 bytes.
_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_AUDIENCE: Final = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """
    How sessions live, rotate and end.

    All spans are ``datetime.timedelta``. Nothing is corrected silently.

    Raises:
        ConfigError: an option has the wrong type or an impossible value; the message names it.

    """

    idle_timeout: timedelta = timedelta(days=30)
    """A session ends when nobody used it for so long (ASVS 5.0, 7.3.1)."""

    browser_session_idle_timeout: timedelta = timedelta(days=1)
    """
    The idle limit of a login with ``remember=False``, if it is shorter than ``idle_timeout``.

    The cookie of such a session ends when the browser is closed, and nobody signs out then: without a limit of
    its own the session would stay behind.
    """

    absolute_timeout: timedelta = timedelta(days=90)
    """A session ends so long after its login, even if it is in use; at most 400 days (ASVS 5.0, 7.3.2)."""

    touch_interval: timedelta = timedelta(minutes=5)
    """
    The shortest span between two writes of ``last_active_at``.

    A session may therefore end earlier than ``idle_timeout`` says, by as much, and never later.
    """

    rotate_every: timedelta = timedelta(minutes=15)
    """A token that was in use for so long gets a successor."""

    rotation_overlap: timedelta = timedelta(seconds=60)
    """
    How long after its first request a new token counts as kept by the browser.

    For so long after aiosess minted a successor, no other request gets one. Chromium writes its cookies to the disk 30
    seconds after a change, so the log warns at each start if the option is below 35 seconds: a browser that is killed
    may then come back with a token that counts as replaced, and its user is signed out with a theft alarm.
    """

    late_window: timedelta = timedelta(minutes=10)
    """
    How long aiosess accepts a replaced token: for requests in flight and buffered uploads.

    For so long after the holder of a session got a successor, it gets no other. Must be shorter than
    ``rotate_every``.
    """

    max_sessions_per_user: int | None = 10
    """
    A login beyond this number evicts another session of the user; None sets no cap.

    First goes a session whose token never came back after its login, then one that the client that signs in (by
    address and User-Agent) used last, then the one that was least recently active.
    """

    fingerprint: Fingerprint = "report"
    """
    The reaction to a change of browser family, platform or device type within one session.

    "report" emits an event, "enforce" also ends the session, "off" does not compare.
    """

    trusted_proxies: tuple[str, ...] = ()
    """The proxies whose ``X-Forwarded-For`` counts, as CIDRs, or "unix" for a Unix socket; none by default."""

    max_staleness: timedelta = timedelta(0)
    """A check may use an answer of PostgreSQL that is this old; zero checks every request."""

    max_data_bytes: int = 16 * 1024
    """The largest ``data`` of a session, as JSON text, in bytes."""

    max_held_sessions: int = 20_000
    """How many sessions, verified tokens and ended sessions one process remembers, of each kind."""

    cookie_name: str = "session"
    """
    The cookie's name; the browser gets it as ``__Host-<cookie_name>``, with ``insecure_cookies`` as it is.

    A session that ends with the browser has a second one, ``__Host-<cookie_name>-version``.
    """

    cookie_samesite: SameSite = "Lax"
    """The cookie's SameSite attribute: "Lax" or "Strict"."""

    no_store_when_signed_in: bool = False
    """
    Put ``Cache-Control: no-store`` on every response that looked at a signed-in session.

    Then no browser shows the page again after the sign-out, when the user goes back (RFC 9111, 5.2.2.5).
    """

    insecure_cookies: bool = False
    """
    Leave out ``Secure`` and ``__Host-``, so that the cookie works over plain http.

    For development only: the log warns at every start.
    """

    allowed_origins: tuple[str, ...] = ()
    """
    Further origins whose pages may act with the session, such as "https://app.example.org"; none by default.

    The application's own origin, made of the ``Host`` header and https (http with ``insecure_cookies``), needs no
    entry, unless a proxy changes ``Host``. They count for WebSockets and for forms: ``guard()`` and ``check_csrf()``
    take a request from such a page for one of ours; a form still needs its token. Whole origins only: no path, no
    wildcard, no "null".
    """

    audience: str = "aiosess"
    """
    Names the application in its tokens; applications that share a secret must differ here (ASVS 5.0, 9.2.3).

    The tables remember the audience that used them first, and one ``schema`` serves one audience: two applications with
    tables in common would share their users. Those that do share their users share the audience.
    """

    schema: str = "public"
    """The PostgreSQL schema of the tables."""

    migrate: bool = True
    """Create and upgrade the tables at start-up; if False, a DBA runs ``aiosess.schema_sql()``."""

    store_timeout: timedelta = timedelta(seconds=5)
    """The deadline of one operation in PostgreSQL, with the time to connect and to wait for a connection."""

    pool_size: int = 10
    """The most connections of the pool that ``setup(dsn=…)`` makes; all checks together use one of them."""

    statement_cache_size: int = 100
    """
    How many prepared statements a connection of that pool keeps; 0 behind PgBouncer before version 1.21, or another
    pooler that keeps no prepared statements in transaction mode.
    """

    sweep_interval: timedelta = timedelta(hours=1)
    """How often aiosess deletes expired rows."""

    on_event: Callable[[Event], Awaitable[None] | None] | None = None
    """The hook that gets every ``Event``: a coroutine function, or a plain function that does not block."""

    trusted_networks: tuple[Proxy, ...] = field(init=False, repr=False)
    """The networks that ``trusted_proxies`` names; computed, not an option."""

    origins: frozenset[str] = field(init=False, repr=False)
    """The origins that ``allowed_origins`` names, as browsers spell them; computed, not an option."""

    def __post_init__(self) -> None:
        """Check each option, then the options that depend on each other."""
        for option in _SPANS:
            _check_span(option, getattr(self, option), zero_is_allowed=option == "max_staleness")
        for option, least in _COUNTS.items():
            if option != "max_sessions_per_user" or self.max_sessions_per_user is not None:
                _check_count(option, getattr(self, option), least)
        for option, pattern in _NAMES.items():
            _check_name(option, getattr(self, option), pattern)
        for option, choices in _CHOICES.items():
            if getattr(self, option) not in choices:
                _refuse(option, f"must be one of {', '.join(choices)}")
        for option in _SWITCHES:
            if not isinstance(getattr(self, option), bool):
                _refuse(option, "must be True or False")
        if self.on_event is not None and not callable(self.on_event):
            _refuse("on_event", "must be a function or a coroutine function")
        self._check_limits()
        self._check_reserved_names()
        proxies = _as_tuple("trusted_proxies", "CIDRs", self.trusted_proxies)
        object.__setattr__(self, "trusted_proxies", proxies)
        object.__setattr__(self, "trusted_networks", _parse("trusted_proxies", parse_networks, proxies))
        allowed = _as_tuple("allowed_origins", "origins", self.allowed_origins)
        object.__setattr__(self, "allowed_origins", allowed)
        object.__setattr__(self, "origins", _parse("allowed_origins", parse_origins, allowed))

    @property
    def scheme(self) -> str:
        """How browsers reach the application: "https", or "http" with ``insecure_cookies``."""
        return "http" if self.insecure_cookies else "https"

    def _check_limits(self) -> None:
        if self.absolute_timeout > LONGEST_SESSION:
            _refuse("absolute_timeout", "must be at most 400 days, the longest life of a cookie")
        for shorter, longer in _ORDER:
            if getattr(self, shorter) > getattr(self, longer):
                _refuse(shorter, f"must not be longer than {longer}")
        if self.late_window >= self.rotate_every:
            _refuse("late_window", "must be shorter than rotate_every")

    def _check_reserved_names(self) -> None:
        if self.cookie_name.lower().startswith(("__host-", "__secure-")):
            _refuse("cookie_name", "the __Host- prefix is added by aiosess")
        if self.cookie_name.lower().endswith(VERSION_SUFFIX):
            _refuse("cookie_name", f"must not end with {VERSION_SUFFIX}: version cookies are named so")
        if self.schema.startswith("pg_"):
            _refuse("schema", "names that begin with pg_ are PostgreSQL's own")

    @classmethod
    def aal1(cls, **options: Any) -> Self:  # noqa: ANN401 - any option of the class
        """Return the limits of NIST SP 800-63B-4, 2.1.3 (AAL1): 30 days overall, no separate inactivity limit."""
        return cls(**{"idle_timeout": timedelta(days=30), "absolute_timeout": timedelta(days=30)} | options)

    @classmethod
    def aal2(cls, **options: Any) -> Self:  # noqa: ANN401 - any option of the class
        """Return the limits of NIST SP 800-63B-4, 2.2.3 (AAL2): 24 hours overall, 1 hour of inactivity."""
        return cls(**{"idle_timeout": timedelta(hours=1), "absolute_timeout": timedelta(hours=24)} | options)

    @classmethod
    def aal3(cls, **options: Any) -> Self:  # noqa: ANN401 - any option of the class
        """Return the limits of NIST SP 800-63B-4, 2.3.3 (AAL3): 12 hours overall, 15 minutes of inactivity."""
        return cls(**{"idle_timeout": timedelta(minutes=15), "absolute_timeout": timedelta(hours=12)} | options)

    def with_limits(
        self, idle_timeout: timedelta | None, absolute_timeout: timedelta | None, *, remember: bool = True
    ) -> Self:
        """
        Return a copy with other limits of a session; None keeps a limit.

        A given ``absolute_timeout`` alone also caps ``idle_timeout``, and so does
        ``browser_session_idle_timeout`` if the browser is not to remember the session.

        Raises:
            ConfigError: the limits contradict each other or another option.

        """
        given = {}
        if absolute_timeout is not None:
            given["absolute_timeout"] = absolute_timeout
        if idle_timeout is not None:
            given["idle_timeout"] = idle_timeout
        else:
            caps = [absolute_timeout] if isinstance(absolute_timeout, timedelta) else []
            caps += [] if remember else [self.browser_session_idle_timeout]
            if caps:
                given["idle_timeout"] = min(self.idle_timeout, *caps)
        return self.with_options(given) if given else self

    def with_options(self, options: dict[str, Any]) -> Self:
        """
        Return a copy with some options changed.

        Raises:
            ConfigError: an option does not exist, or its value is wrong.

        """
        known = inspect.signature(type(self)).parameters
        for option in options:
            if option not in known:
                _refuse(option, "there is no such option")
        return replace(self, **options)


_SPANS: Final = (
    "idle_timeout",
    "browser_session_idle_timeout",
    "absolute_timeout",
    "touch_interval",
    "rotate_every",
    "rotation_overlap",
    "late_window",
    "max_staleness",
    "store_timeout",
    "sweep_interval",
)
# The least value of each number.
_COUNTS: Final = {
    "max_sessions_per_user": 1,
    "max_data_bytes": 1,
    "max_held_sessions": 1,
    "pool_size": 1,
    "statement_cache_size": 0,
}
_NAMES: Final = {"cookie_name": _COOKIE_NAME, "schema": _IDENTIFIER, "audience": _AUDIENCE}
_CHOICES: Final = {"fingerprint": get_args(Fingerprint), "cookie_samesite": get_args(SameSite)}
_SWITCHES: Final = ("insecure_cookies", "migrate", "no_store_when_signed_in")

# The first must not be longer than the second.
_ORDER: Final = (
    ("idle_timeout", "absolute_timeout"),
    ("touch_interval", "idle_timeout"),
    ("touch_interval", "browser_session_idle_timeout"),
    ("rotation_overlap", "late_window"),
)


def _refuse(option: str, why: str) -> NoReturn:
    message = f"{option}: {why}"
    raise ConfigError(message)


def _check_span(option: str, value: object, *, zero_is_allowed: bool) -> None:
    if not isinstance(value, timedelta):
        _refuse(option, f"must be a datetime.timedelta, not {type(value).__name__}")
    if value < timedelta(0) or (value == timedelta(0) and not zero_is_allowed):
        _refuse(option, "must be positive")


def _check_count(option: str, value: object, least: int) -> None:
    if type(value) is not int:  # isinstance() would accept True
        _refuse(option, f"must be an int, not {type(value).__name__}")
    if value < least:
        _refuse(option, f"must be at least {least}")
    if value > _LARGEST_COUNT:
        _refuse(option, f"must be at most {_LARGEST_COUNT}")


def _check_name(option: str, value: object, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str):
        _refuse(option, f"must be a str, not {type(value).__name__}")
    if not pattern.fullmatch(value):
        _refuse(option, f"must match {pattern.pattern}")


def _as_tuple(option: str, kind: str, values: object) -> tuple[Any, ...]:
    """Copy values into a tuple: ``with_options()`` would find a generator empty, and a list could change later."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        _refuse(option, f"must be a tuple of {kind}")
    return tuple(values)


def _parse(option: str, parse: Callable[[tuple[Any, ...]], T], values: tuple[Any, ...]) -> T:
    try:
        return parse(values)
    except ValueError as error:
        _refuse(option, str(error))
