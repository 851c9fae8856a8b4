"""The options: which values each refuses, which contradict each other, and the numbers of the presets."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from ipaddress import ip_network
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess.config import LONGEST_SESSION, SessionConfig
from aiosess.errors import ConfigError

SPANS = (
    *("idle_timeout", "absolute_timeout", "touch_interval", "rotate_every", "rotation_overlap", "late_window"),
    *("max_staleness", "store_timeout", "sweep_interval", "browser_session_idle_timeout"),
)
COUNTS = ("max_sessions_per_user", "max_data_bytes", "max_held_sessions", "pool_size", "statement_cache_size")
NAMES = ("cookie_name", "schema", "audience")
CHOICES = ("fingerprint", "cookie_samesite")
SWITCHES = ("insecure_cookies", "migrate", "no_store_when_signed_in")
OTHERS = ("trusted_proxies", "allowed_origins", "on_event")
OPTIONS = tuple(option.name for option in fields(SessionConfig) if option.init)
SECOND = timedelta(seconds=1)


def assert_refused(option: str, **options: Any) -> str:
    """Check that SessionConfig and with_options() refuse some options and name one; return the message."""
    with pytest.raises(ConfigError, match=rf"^{option}: .") as caught:
        SessionConfig(**options)
    with pytest.raises(ConfigError, match=rf"^{option}: ."):
        SessionConfig().with_options(options)
    assert caught.value.__cause__ is None
    return str(caught.value)


def field_docstrings() -> dict[str, str]:
    """Return the text that stands under each field of SessionConfig."""
    [definition] = ast.parse(inspect.getsource(SessionConfig)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for name, text in pairwise(definition.body):
        match name, text:
            case ast.AnnAssign(target=ast.Name(id=option)), ast.Expr(value=ast.Constant(value=str(words))):
                found[option] = words
    return found


def test_every_option_is_tried_here() -> None:
    """These tests cover every option."""
    assert sorted(SPANS + COUNTS + NAMES + CHOICES + SWITCHES + OTHERS) == sorted(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_option_is_documented(option: str) -> None:
    """Each option has a text of at least a sentence under its field."""
    assert re.match(r"[A-Z][^\n]{15,}\.", inspect.cleandoc(field_docstrings()[option]))


def test_defaults() -> None:
    """The defaults have the values of the design."""
    config = SessionConfig()
    minute, day = timedelta(minutes=1), timedelta(days=1)
    assert (config.idle_timeout, config.absolute_timeout, config.touch_interval) == (30 * day, 90 * day, 5 * minute)
    assert config.browser_session_idle_timeout == day
    assert (config.rotate_every, config.rotation_overlap, config.late_window) == (15 * minute, minute, 10 * minute)
    assert (config.max_sessions_per_user, config.fingerprint, config.trusted_proxies) == (10, "report", ())
    assert (config.max_staleness, config.max_data_bytes) == (timedelta(0), 16_384)
    assert (config.cookie_name, config.cookie_samesite, config.insecure_cookies) == ("session", "Lax", False)


# Wrong types


def wrong_types() -> Iterator[tuple[str, object]]:
    """Give each option with values of wrong types."""
    no_spans: tuple[object, ...] = (None, 60, 60.0, "60", True, [SECOND])
    no_counts: tuple[object, ...] = (5.0, "5", True, False, [5], SECOND)
    no_names: tuple[object, ...] = (None, 5, b"name", ["name"], True)
    no_choices: tuple[object, ...] = (None, True, 0, [], ["Lax"], {}, b"Lax")
    yield from ((span, value) for span in SPANS for value in no_spans)
    yield from ((count, value) for count in COUNTS for value in no_counts)
    yield from ((count, None) for count in COUNTS if count != "max_sessions_per_user")
    yield from ((name, value) for name in NAMES for value in no_names)
    yield from ((choice, value) for choice in CHOICES for value in no_choices)
    yield from ((switch, value) for switch in SWITCHES for value in (None, 0, 1, "yes", "", []))
    yield from (("trusted_proxies", value) for value in (None, 5, True, "10.0.0.0/8", b"10.0.0.0/8", [5], [None]))
    yield from (("allowed_origins", value) for value in (None, 5, True, "https://a.example", b"https://a", [5], [None]))
    yield from (("on_event", value) for value in (5, "print", [print], True, False))


@pytest.mark.parametrize(("option", "value"), list(wrong_types()), ids=repr)
def test_wrong_type_names_the_option(option: str, value: object) -> None:
    """An option refuses a value of a wrong type; the message begins with the option's name."""
    assert_refused(option, **{option: value})


# Impossible values


@pytest.mark.parametrize("option", SPANS)
def test_span_is_positive(option: str) -> None:
    """No span may be negative, and only max_staleness may be zero."""
    assert "positive" in assert_refused(option, **{option: -timedelta(microseconds=1)})
    if option == "max_staleness":
        assert SessionConfig(max_staleness=timedelta(0)).max_staleness == timedelta(0)
    else:
        assert "positive" in assert_refused(option, **{option: timedelta(0)})


@pytest.mark.threat("DOS-01")
@pytest.mark.parametrize("option", COUNTS)
def test_count_fits_the_database(option: str) -> None:
    """A count is from 1 to the largest int that a query can carry; a cache may also hold nothing."""
    for value in (1, 2**31 - 1):
        assert getattr(SessionConfig().with_options({option: value}), option) == value
    for value in (-1, 2**31, 10**30):
        assert_refused(option, **{option: value})
    if option == "statement_cache_size":
        assert SessionConfig(statement_cache_size=0).statement_cache_size == 0
    else:
        assert "at least 1" in assert_refused(option, **{option: 0})


def test_cap_may_be_absent() -> None:
    """None sets no cap on the sessions of a user."""
    assert SessionConfig(max_sessions_per_user=None).max_sessions_per_user is None


@pytest.mark.threat("COO-01")
@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "a b",
            "a=b",
            "a;b",
            "a,b",
            'a"b',
            "a\\b",
            "a\n",
            "é",
            "a\0",
            "(a)",
            "a/b",
            "a@b",
            "a:b",
            "a" * 65,
            "\ud800",
        ),
        *("__Host-session", "__host-session", "__Secure-session", "__SECURE-x"),
        *("session-version", "-version", "a-VERSION"),
    ],
)
def test_cookie_name_is_a_token(name: str) -> None:
    """cookie_name refuses what is no RFC 9110 token, is too long, has a prefix, or ends like a version cookie."""
    assert_refused("cookie_name", cookie_name=name)


@pytest.mark.threat("DB-01")
@pytest.mark.parametrize(
    "schema",
    ["", "Public", "a b", 'a"b', "a;b", "a.b", "1a", "a-b", "é", "a" * 64, "a\n", "pg_catalog", "pg_temp", "pg_x"],
)
def test_schema_is_a_plain_identifier(schema: str) -> None:
    """The option schema refuses names that need quotes, that PostgreSQL would cut, or that belong to PostgreSQL."""
    assert_refused("schema", schema=schema)


@pytest.mark.parametrize("audience", ["", "a b", "é", "a\n", "a" * 65, "\x7f", "\0"])
def test_audience_is_plain(audience: str) -> None:
    """An audience is 1 to 64 visible ASCII characters."""
    assert_refused("audience", audience=audience)


def test_names_at_their_limits() -> None:
    """The options accept the longest names."""
    config = SessionConfig(cookie_name="a" * 64, schema="_" + "a1" * 31, audience="~" * 64)
    assert (len(config.cookie_name), len(config.schema), len(config.audience)) == (64, 63, 64)


@pytest.mark.parametrize(("option", "value"), [("fingerprint", "Report"), ("fingerprint", "on"), ("fingerprint", "")])
def test_fingerprint_is_one_of_three(option: str, value: str) -> None:
    """The option fingerprint refuses another word, and the message lists the three."""
    assert "report, enforce, off" in assert_refused(option, **{option: value})


@pytest.mark.threat("COO-01")
@pytest.mark.parametrize("value", ["None", "none", "lax", "STRICT", ""])
def test_samesite_is_never_none(value: str) -> None:
    """cookie_samesite refuses None: other sites could then send the session cookie."""
    assert "Lax, Strict" in assert_refused("cookie_samesite", cookie_samesite=value)


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize("bad", ["10.0.0.1/8", "localhost", "0.0.0.0/0", "::/0", "", "10.0.0.0/8, 192.0.2.1"])
def test_bad_proxy_is_named(bad: str) -> None:
    """trusted_proxies refuses text that is no network, and the network of all addresses; the message repeats it."""
    assert repr(bad) in assert_refused("trusted_proxies", trusted_proxies=("192.0.2.0/24", bad))


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize("bad", ["null", "*", "", "app.example", "https://", "https://a.example/", "https://*.example"])
def test_what_is_no_origin_is_named(bad: str) -> None:
    """allowed_origins refuses text that is no single origin; the message repeats it."""
    assert repr(bad) in assert_refused("allowed_origins", allowed_origins=("https://a.example", bad))


@pytest.mark.threat("WSO-01")
def test_origins_are_kept_as_browsers_spell_them() -> None:
    """Origins are compared in lower case and without the port that the scheme has anyway; copies keep them."""
    config = SessionConfig(allowed_origins=iter(("HTTPS://A.example:443", "http://b.example:8080")))  # type: ignore[arg-type]  # an iterator is copied
    for each in (config, config.with_options({"pool_size": 3})):
        assert each.allowed_origins == ("HTTPS://A.example:443", "http://b.example:8080")
        assert each.origins == {"https://a.example", "http://b.example:8080"}


# Options that depend on each other


@pytest.mark.parametrize(
    ("shorter", "longer", "at_most"),
    [
        ("idle_timeout", "absolute_timeout", timedelta(hours=1)),
        ("touch_interval", "idle_timeout", timedelta(hours=1)),
        ("touch_interval", "browser_session_idle_timeout", timedelta(hours=1)),
        ("rotation_overlap", "late_window", timedelta(minutes=3)),
    ],
)
def test_order_of_spans(shorter: str, longer: str, at_most: timedelta) -> None:
    """The first span may be as long as the second, and not longer."""
    assert getattr(SessionConfig().with_options({shorter: at_most, longer: at_most}), shorter) == at_most
    message = assert_refused(shorter, **{shorter: at_most + timedelta(microseconds=1), longer: at_most})
    assert longer in message


@pytest.mark.threat("ROT-08")
def test_late_window_is_shorter_than_rotation() -> None:
    """late_window must be shorter than rotate_every; otherwise three generations of tokens would be valid."""
    span = timedelta(minutes=5)
    assert "rotate_every" in assert_refused("late_window", late_window=span, rotate_every=span)
    assert SessionConfig(late_window=span - timedelta(microseconds=1), rotate_every=span).late_window < span


@pytest.mark.threat("SES-06")
def test_no_session_outlives_400_days() -> None:
    """A session lives 400 days at most, because browsers cap a cookie's age there (RFC 6265bis)."""
    assert timedelta(days=400) == LONGEST_SESSION
    assert SessionConfig(absolute_timeout=LONGEST_SESSION).absolute_timeout == LONGEST_SESSION
    assert "400 days" in assert_refused("absolute_timeout", absolute_timeout=LONGEST_SESSION + SECOND)


spans = st.timedeltas(timedelta(0), timedelta(days=500))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SPANS, spans)))
def test_config_in_force_keeps_the_rules(options: dict[str, timedelta]) -> None:
    """SessionConfig either keeps every rule about spans or names one span that breaks a rule."""
    refused = ""
    try:
        config = SessionConfig().with_options(options)
    except ConfigError as error:
        refused = str(error).partition(":")[0]
        config = SessionConfig()
    assert refused in ("", *SPANS)
    assert timedelta(0) < config.touch_interval <= config.idle_timeout <= config.absolute_timeout <= LONGEST_SESSION
    assert config.touch_interval <= config.browser_session_idle_timeout
    assert timedelta(0) < config.rotation_overlap <= config.late_window < config.rotate_every
    assert refused or all(getattr(config, name) == value for name, value in options.items())


# Presets


@pytest.mark.parametrize(
    ("preset", "idle", "absolute"),
    [
        (SessionConfig.aal1, timedelta(days=30), timedelta(days=30)),
        (SessionConfig.aal2, timedelta(hours=1), timedelta(hours=24)),
        (SessionConfig.aal3, timedelta(minutes=15), timedelta(hours=12)),
    ],
)
def test_presets_are_nist(preset: Callable[..., SessionConfig], idle: timedelta, absolute: timedelta) -> None:
    """A preset sets the limits of NIST SP 800-63B-4 and nothing else, and accepts further options."""
    config = preset()
    assert (config.idle_timeout, config.absolute_timeout) == (idle, absolute)
    assert replace(config, idle_timeout=timedelta(days=30), absolute_timeout=timedelta(days=90)) == SessionConfig()
    stricter = preset(idle_timeout=timedelta(minutes=5), max_sessions_per_user=1)
    assert (stricter.idle_timeout, stricter.absolute_timeout) == (timedelta(minutes=5), absolute)
    assert stricter.max_sessions_per_user == 1
    with pytest.raises(ConfigError, match="idle_timeout"):
        preset(idle_timeout=timedelta(days=31))


# The record


def test_config_is_frozen() -> None:
    """Nobody can change an option after the check, or add one."""
    config = SessionConfig()
    with pytest.raises(FrozenInstanceError):
        config.idle_timeout = timedelta(days=400)  # type: ignore[misc]  # the test is that this fails
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        config.anything = 1  # type: ignore[attr-defined]  # the test is that this fails
    with pytest.raises(TypeError):
        SessionConfig(timedelta(days=1))  # type: ignore[call-arg]  # options go by name


def test_with_options_is_a_checked_copy() -> None:
    """with_options() returns a changed copy; the original keeps its values."""
    config = SessionConfig(pool_size=3)
    changed = config.with_options({"audience": "shop", "trusted_proxies": ("10.0.0.0/8",)})
    assert (changed.pool_size, changed.audience, config.audience) == (3, "shop", "aiosess")
    assert (changed.trusted_networks, config.trusted_networks) == ((ip_network("10.0.0.0/8"),), ())
    assert config.with_options({}) == config


@pytest.mark.parametrize("option", ["idle_timout", "trusted_networks", "secret", "dsn", "__class__", "aal1", ""])
def test_unknown_option_is_named(option: str) -> None:
    """with_options() names an option that does not exist; a computed field is none."""
    with pytest.raises(ConfigError, match=f"^{option}: there is no such option$"):
        SessionConfig().with_options({"pool_size": 3, option: 1})


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize("kind", [tuple, list, iter, lambda values: (value for value in values)])
def test_proxies_survive_a_copy(kind: Callable[[list[str]], Any]) -> None:
    """A list or an iterator of proxies is copied, so copies of the options keep it and later changes do not count."""
    given = ["10.0.0.0/8", "unix"]
    config = SessionConfig(trusted_proxies=kind(given))
    given.clear()
    for each in (config, config.with_options({"pool_size": 3})):
        assert each.trusted_proxies == ("10.0.0.0/8", "unix")
        assert each.trusted_networks == (ip_network("10.0.0.0/8"), "unix")
    assert hash(config) == hash(config.with_options({}))


@pytest.mark.parametrize("hook", [print, lambda _: None, list, None])
def test_hook_is_any_callable(hook: Callable[[Any], None] | None) -> None:
    """on_event accepts any callable, or None."""
    assert SessionConfig(on_event=hook).on_event is hook


def test_proxies_are_not_named_in_the_repr() -> None:
    """The repr shows the options without the computed fields."""
    shown = repr(SessionConfig())
    assert "trusted_networks" not in shown
    assert " origins=" not in shown
