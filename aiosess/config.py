"""
The options of aiosess: one frozen dataclass, checked once at start-up.

The numbers' sources stand beside them; the presets are those of NIST SP 800-63B-4.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, NoReturn, Self, get_args

from aiosess._client.address import Proxy, parse_networks
from aiosess.errors import ConfigError

Fingerprint = Literal["report", "enforce", "off"]
SameSite = Literal["Lax", "Strict"]

# RFC 6265bis 5.6.2: user agents cap a cookie's age at 400 days, so a longer session would outlive its cookie.
LONGEST_SESSION = timedelta(days=400)

# A query argument beyond PostgreSQL's int would fail in the driver, request by request.
_LARGEST_COUNT = 2**31 - 1

# RFC 6265bis 4.1.1: a cookie's name is an RFC 9110 token. PostgreSQL cuts identifiers at 63 bytes.
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_AUDIENCE = re.compile(r"[\x21-\x7e]{1,64}")


def _refuse(option: str, why: str) -> NoReturn:
    message = f"{option}: {why}"
    raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """
    How sessions live, rotate and end.

    Spans are ``datetime.timedelta``. Unknown or wrong values raise
    ``ConfigError``, which names the option; nothing is corrected silently.

    Attributes:
        idle_timeout: A session ends when it was not used for so long (ASVS 5.0, 7.3.1).
        absolute_timeout: A session ends so long after its login, whatever happens; at most 400 days (ASVS 5.0, 7.3.2).
        touch_interval: ``last_active_at`` is written at most once in this span, which may shorten
            ``idle_timeout`` by as much and never lengthens it.
        rotate_every: A token that was in use for so long gets a successor.
        rotation_overlap: How long a newly presented token must have been in use before it counts as kept by
            the browser. For so long after a successor was minted nobody gets another one.
        late_window: A retired token is still accepted for so long: requests in flight, buffered uploads. For so long
            after a successor of its own the browser at home in the session gets no other. Shorter than
            ``rotate_every``.
        max_sessions_per_user: The least recently active session is evicted beyond it; None is no cap.
        fingerprint: What a change of browser family, platform or device type within one session does:
            "report" emits an event, "enforce" also ends the session, "off" looks at nothing.
        trusted_proxies: CIDRs (or "unix" for a Unix socket) whose ``X-Forwarded-For`` is believed; empty: none is.
        max_staleness: A check may rely on an answer this old. Zero, the default, checks every request.
        max_data_bytes: The largest ``data`` of a session, as JSON text in bytes.
        max_held_sessions: How many sessions, verified tokens and ended sessions one process remembers.
        cookie_name: Sent as ``__Host-<cookie_name>``, or plain in insecure mode.
        cookie_samesite: "Lax" or "Strict".
        insecure_cookies: For development over plain http only: no ``Secure``, no ``__Host-``; loud in the log.
        audience: Who the tokens are for; applications that share a secret must differ here (ASVS 5.0, 9.2.3).
        schema: The PostgreSQL schema of the tables.
        migrate: Create and update the tables at start-up; False needs ``aiosess.schema_sql()`` run by hand.
        store_timeout: The deadline of everything asked of PostgreSQL: connecting, waiting for a connection, the
            query and giving the connection back.
        pool_size: The most connections of the pool that ``setup(dsn=…)`` makes; one check at a time needs one.
        sweep_interval: How often expired rows are deleted.
        on_event: Called with every ``Event``; a plain function that must not block, or a coroutine function.

    Raises:
        ConfigError: an option has the wrong type or an impossible value.

    """

    idle_timeout: timedelta = timedelta(days=30)
    absolute_timeout: timedelta = timedelta(days=90)
    touch_interval: timedelta = timedelta(minutes=5)
    rotate_every: timedelta = timedelta(minutes=15)
    rotation_overlap: timedelta = timedelta(seconds=60)
    late_window: timedelta = timedelta(minutes=10)
    max_sessions_per_user: int | None = 10
    fingerprint: Fingerprint = "report"
    trusted_proxies: tuple[str, ...] = ()
    max_staleness: timedelta = timedelta(0)
    max_data_bytes: int = 16 * 1024
    max_held_sessions: int = 20_000
    cookie_name: str = "session"
    cookie_samesite: SameSite = "Lax"
    insecure_cookies: bool = False
    audience: str = "aiosess"
    schema: str = "public"
    migrate: bool = True
    store_timeout: timedelta = timedelta(seconds=5)
    pool_size: int = 10
    sweep_interval: timedelta = timedelta(hours=1)
    on_event: Callable[[Any], Awaitable[None] | None] | None = None
    trusted_networks: tuple[Proxy, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every option, then how they go together."""
        self._check_spans()
        self._check_counts()
        self._check_names()
        self._check_switches()
        proxies = _tuple(self.trusted_proxies)
        object.__setattr__(self, "trusted_proxies", proxies)
        object.__setattr__(self, "trusted_networks", _networks(proxies))

    def _check_spans(self) -> None:
        zero = timedelta(0)
        for option in _SPANS:
            value = getattr(self, option)
            if not isinstance(value, timedelta):
                _refuse(option, f"must be a datetime.timedelta, not {type(value).__name__}")
            if value < zero or (value == zero and option != "max_staleness"):
                _refuse(option, "must be positive")
        if self.absolute_timeout > LONGEST_SESSION:
            _refuse("absolute_timeout", "must be at most 400 days, the longest life of a cookie")
        for shorter, longer in _ORDER:
            if getattr(self, shorter) > getattr(self, longer):
                _refuse(shorter, f"must not be longer than {longer}")
        if self.late_window >= self.rotate_every:
            _refuse("late_window", "must be shorter than rotate_every")

    def _check_counts(self) -> None:
        for option in ("max_sessions_per_user", "max_data_bytes", "max_held_sessions", "pool_size"):
            value = getattr(self, option)
            if value is None and option == "max_sessions_per_user":
                continue
            if type(value) is not int:
                _refuse(option, f"must be an int, not {type(value).__name__}")
            if value < 1:
                _refuse(option, "must be at least 1")
            if value > _LARGEST_COUNT:
                _refuse(option, f"must be at most {_LARGEST_COUNT}")

    def _check_names(self) -> None:
        for option, pattern in (("cookie_name", _COOKIE_NAME), ("schema", _IDENTIFIER), ("audience", _AUDIENCE)):
            value = getattr(self, option)
            if not isinstance(value, str):
                _refuse(option, f"must be a str, not {type(value).__name__}")
            if not pattern.fullmatch(value):
                _refuse(option, f"must match {pattern.pattern}")
        if self.cookie_name.lower().startswith(("__host-", "__secure-")):
            _refuse("cookie_name", "the __Host- prefix is added by aiosess")
        if self.schema.startswith("pg_"):
            _refuse("schema", "names that begin with pg_ are PostgreSQL's own")

    def _check_switches(self) -> None:
        for option, choices in (("fingerprint", get_args(Fingerprint)), ("cookie_samesite", get_args(SameSite))):
            if getattr(self, option) not in choices:
                _refuse(option, f"must be one of {', '.join(choices)}")
        for option in ("insecure_cookies", "migrate"):
            if not isinstance(getattr(self, option), bool):
                _refuse(option, "must be True or False")
        if self.on_event is not None and not callable(self.on_event):
            _refuse("on_event", "must be a function or a coroutine function")

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

    def with_limits(self, idle_timeout: timedelta | None, absolute_timeout: timedelta | None) -> Self:
        """
        Return a copy with other limits of a session, where they are given; a short absolute one shortens the idle one.

        Raises:
            ConfigError: they do not go together, or not with the other options.

        """
        limits = {"idle_timeout": idle_timeout, "absolute_timeout": absolute_timeout}
        given = {option: limit for option, limit in limits.items() if limit is not None}
        if idle_timeout is None and isinstance(absolute_timeout, timedelta):
            given["idle_timeout"] = min(self.idle_timeout, absolute_timeout)
        return self.with_options(given) if given else self

    def with_options(self, options: dict[str, Any]) -> Self:
        """
        Return a copy with some options changed.

        Raises:
            ConfigError: there is no such option, or its value is wrong.

        """
        known = inspect.signature(type(self)).parameters
        for option in options:
            if option not in known:
                _refuse(option, "there is no such option")
        return replace(self, **options)


_SPANS = (
    "idle_timeout",
    "absolute_timeout",
    "touch_interval",
    "rotate_every",
    "rotation_overlap",
    "late_window",
    "max_staleness",
    "store_timeout",
    "sweep_interval",
)

_ORDER = (
    ("idle_timeout", "absolute_timeout"),
    ("touch_interval", "idle_timeout"),
    ("rotation_overlap", "late_window"),
)


def _tuple(values: object) -> tuple[Any, ...]:
    """Keep what was given as a tuple: with_options() would find a generator empty, and a list could still change."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        _refuse("trusted_proxies", "must be a tuple of CIDRs")
    return tuple(values)


def _networks(values: tuple[Any, ...]) -> tuple[Proxy, ...]:
    try:
        return parse_networks(values)
    except ValueError as error:
        _refuse("trusted_proxies", str(error))
