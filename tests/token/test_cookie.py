"""The cookie's text: the exact bytes of the response's header, and which value of a request's headers is ours."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._token.cookie import MAX_COPIES, Cookie, CookieConflict, TooManyCookies
from aiosess._token.keys import Keyring
from aiosess._token.token import longest_token, new_token
from aiosess.config import LONGEST_SESSION, SessionConfig
from tests.world.jar import Jar

NAME = "__Host-session"
DEFAULT = Cookie.from_config(SessionConfig())
KEYRING = Keyring("a secret for the tests of the cookie 0123456789")


# What is sent


@pytest.mark.threat("COO-01")
@pytest.mark.parametrize(
    ("options", "max_age", "expected"),
    [
        ({}, 7_776_000, "__Host-session=VALUE; Path=/; Max-Age=7776000; Secure; HttpOnly; SameSite=Lax"),
        ({}, None, "__Host-session=VALUE; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({}, 0, "__Host-session=VALUE; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"),
        ({"cookie_samesite": "Strict"}, None, "__Host-session=VALUE; Path=/; Secure; HttpOnly; SameSite=Strict"),
        ({"cookie_name": "id"}, None, "__Host-id=VALUE; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"insecure_cookies": True}, 60, "session=VALUE; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"),
    ],
)
def test_set_cookie_bytes(options: dict[str, Any], max_age: int | None, expected: str) -> None:
    """The header's value is exact: no Domain; Secure and the prefix except in insecure mode."""
    assert Cookie.from_config(SessionConfig(**options)).write("VALUE", max_age) == expected


@pytest.mark.threat("COO-04")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"),
        ({"cookie_samesite": "Strict"}, "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict"),
        ({"insecure_cookies": True}, "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"),
    ],
)
def test_deletion_bytes(options: dict[str, Any], expected: str) -> None:
    """The deletion has an empty value, a Max-Age of zero, and every attribute of the cookie."""
    assert Cookie.from_config(SessionConfig(**options)).clear() == expected


def test_cookie_is_frozen() -> None:
    """The cookie's name and attributes cannot be changed."""
    cookie: Any = DEFAULT
    with pytest.raises(FrozenInstanceError):
        cookie.attributes = ""


@pytest.mark.threat("COO-04")
@pytest.mark.parametrize("max_age", [3600, None])
@pytest.mark.parametrize("samesite", ["Lax", "Strict"])
@pytest.mark.parametrize("origin", ["https://app.example", "http://127.0.0.1"])
def test_jar_ends_empty(origin: str, samesite: str, max_age: int | None) -> None:
    """A browser that receives the cookie, a successor and the deletion keeps nothing."""
    options: Any = {"cookie_samesite": samesite, "insecure_cookies": origin.startswith("http:")}
    cookie, jar = Cookie.from_config(SessionConfig(**options)), Jar(origin)
    assert jar.take(cookie.write("first", max_age))
    assert jar.take(cookie.write("second", max_age))
    assert cookie.read([jar.header()]) == "second"
    assert jar.take(cookie.clear())
    assert jar.kept == {}


@pytest.mark.threat("COO-04")
def test_jar_ignores_an_incomplete_deletion() -> None:
    """The jar of these tests is strict: it ignores aiohttp's del_cookie(), which omits attributes."""
    jar = Jar()
    jar.take(DEFAULT.write("first", None))
    assert not jar.take(f'{NAME}=""; Max-Age=0; Path=/')
    assert not jar.take(f"{NAME}=; Max-Age=0; Secure")
    assert not jar.take(f"{NAME}=; Max-Age=0; Path=/; Secure; Domain=app.example")
    assert jar.header() == f"{NAME}=first"


@pytest.mark.threat("COO-04")
def test_jar_forgets() -> None:
    """The jar drops a cookie when its Max-Age is over; one without Max-Age stays until the browser is closed."""
    jar = Jar()
    jar.take(DEFAULT.write("lasting", 60))
    jar.take("brief=1")
    jar.let_pass(59)
    assert [key[0] for key in jar.kept] == [NAME, "brief"]
    assert [key[0] for key in jar.lasting()] == [NAME]
    jar.let_pass(1)
    assert jar.header() == "brief=1"


@pytest.mark.threat("COO-10")
def test_secure_jar_refuses_plain_http() -> None:
    """A browser does not keep the default cookie of a plain-http page: only the option makes it insecure."""
    assert not Jar("http://app.example").take(DEFAULT.write("first", None))


# What is read


@pytest.mark.threat("COO-02")
@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([], None),
        ([""], None),
        ([f"{NAME}=a"], "a"),
        ([f"x=1; {NAME}=a; y=2"], "a"),
        ([f"x=1;{NAME}=a;y=2"], "a"),
        ([f" \t{NAME}=a\t "], "a"),
        (["x=1", f"{NAME}=a"], "a"),
        ([f"{NAME}=a", f"{NAME}=a; x=1"], "a"),
        ([f"{NAME}=a=b=="], "a=b=="),
        ([f"{NAME}="], ""),
        ([NAME], ""),
        # Only ";" separates: any other character is part of a value or a name.
        ([f"x=1 {NAME}=evil"], None),
        ([f"x=1\t{NAME}=evil"], None),
        ([f"x=1,{NAME}=evil"], None),
        ([f"x=1, {NAME}=evil"], None),
        ([f"x=1&{NAME}=evil"], None),
        ([f"x=1\r\n{NAME}=evil"], None),
        ([f'x="a; b {NAME}=evil'], None),
        ([f"x=1\\073 {NAME}=evil"], None),
        ([f"x=1%3B{NAME}=evil"], None),
        ([f"$Version=1, {NAME}=evil"], None),
        # Not trimmed: a browser that trims other white space would not have accepted these as __Host- cookies.
        *(
            ([f"x=1; {space}{NAME}=evil"], None)
            for space in "\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u3000\ufeff\0"
        ),
        *(([f"{NAME}{space}=evil"], None) for space in " \t\n\v\f\xa0\u3000\0"),
        # Not our name.
        ([f"x{NAME}=evil; {NAME}x=evil; x={NAME}=evil"], None),
        (["__host-session=evil; __HOST-SESSION=evil; __Host-Session=evil"], None),
        (["session=evil; __Secure-session=evil; __Host_session=evil; __Host-=evil"], None),
        ([f'"{NAME}"=evil'], None),
        ([f"={NAME}=evil"], None),
        ([f"=;=;;=; {NAME[:-1]}=evil"], None),
        (["%5F%5FHost-session=evil; \\137\\137Host-session=evil"], None),
        (["\uff3f\uff3fHost-session=evil"], None),
        # Not unquoted: the token's codec gets the value unchanged.
        ([f'{NAME}="a"'], '"a"'),
        ([f'{NAME}="a\\073b"'], '"a\\073b"'),
        ([f"{NAME}=a%3Db"], "a%3Db"),
        ([f"{NAME}= a"], " a"),
        ([f"{NAME}=a b"], "a b"),
        ([f"{NAME}=a,b"], "a,b"),
        ([f"{NAME}=\udc80abc"], "\udc80abc"),
        ([f"{NAME}=a\xa0"], "a\xa0"),
        ([f"{NAME}=a\n"], "a\n"),
        # Other pairs do not matter.
        ([f"; ;;x; =; {NAME}=a;; ;"], "a"),
        ([f"\udc80\0=\x01; {NAME}=a"], "a"),
        ([f'x="; {NAME}=a; y="'], "a"),
        ([f"Expires=x; HttpOnly; Path=/; {NAME}=a; Domain=x"], "a"),
        (["x=1; " * 3_000 + f"{NAME}=a"], "a"),
    ],
)
def test_hostile_headers(headers: list[str], value: str | None) -> None:
    """Only ";" ends a pair, only space and tab are trimmed, the name is exact, and the value is unchanged."""
    assert DEFAULT.read(headers) == value


@pytest.mark.threat("COO-02")
def test_space_and_tab_alone_are_trimmed() -> None:
    """No other byte is stripped from a name's front, where that would plant our cookie, or from a value's end."""
    for char in map(chr, set(range(256)) - set(b" \t;")):
        assert DEFAULT.read([f"x=1; {char}{NAME}=evil"]) is None
        assert DEFAULT.read([f"{NAME}=a{char}"]) == f"a{char}"


def two_values(first: str, second: str) -> Iterator[list[str]]:
    """Return both orders of two pairs, in one header and in two, among other cookies."""
    for one, other in ((first, second), (second, first)):
        yield [f"{one}; {other}"]
        yield [one, other]
        yield [f"x=1; {one}; y=2", "z=3", f"{other}; x=1"]


@pytest.mark.threat("COO-03")
@pytest.mark.parametrize(
    "headers",
    [
        *two_values(f"{NAME}=a", f"{NAME}=b"),
        *two_values(f"{NAME}=a", f"{NAME}="),
        *two_values(f"{NAME}=a", NAME),
        *two_values(f"{NAME}=a", f'{NAME}="a"'),
        *two_values(f"{NAME}=a", f"{NAME}=A"),
        [f"{NAME}=a; {NAME}=a; {NAME}=b"],
    ],
)
def test_two_values_are_a_conflict(headers: list[str]) -> None:
    """Two different values are a conflict in any order, because the order does not tell which was planted."""
    with pytest.raises(CookieConflict) as caught:
        DEFAULT.read(headers)
    assert caught.value.args == ()


@pytest.mark.threat("COO-03")
@pytest.mark.parametrize("headers", list(two_values(f"{NAME}=a", f"{NAME}=a")))
def test_same_value_twice_is_one(headers: list[str]) -> None:
    """The same value twice is no conflict: proxies repeat headers."""
    assert DEFAULT.read(headers) == "a"


@pytest.mark.threat("DOS-05")
@pytest.mark.parametrize("more", [f"; {NAME}=a", f"; x={NAME}  {NAME}=a"])
@pytest.mark.parametrize("split", [False, True])
def test_many_copies_are_a_conflict(more: str, *, split: bool) -> None:
    """Eight copies of one value are read; more, or as many places that look like one, are a conflict."""
    pairs = [f"{NAME}=a", *[more.removeprefix("; ")] * 8]
    assert DEFAULT.read(pairs[:8] if split else ["; ".join(pairs[:8])]) == "a"
    for count in (9, 1000 // len(more)):
        many = [pairs[0], *[pairs[1]] * (count - 1)]
        with pytest.raises(CookieConflict):
            DEFAULT.read(many if split else ["; ".join(many)])


@pytest.mark.threat("DOS-05")
@pytest.mark.parametrize("ours", [f"{NAME}=a", f"{NAME}=a; {NAME}=b", "x=1"])
def test_cookies_end_at_16_kb(ours: str) -> None:
    """Headers of more than 16 kB together are not looked at, however they are split and whatever stands in them."""
    for others in (
        ["x" * (16_384 - len(ours))],
        ["x" * 4000] * 4 + ["y" * (384 - len(ours))],
        ["", "x" * (16_384 - len(ours))],
    ):
        for place in (0, len(others)):
            headers = [*others[:place], ours, *others[place:]]
            assert sum(map(len, headers)) == 16_384
            with suppress(CookieConflict):
                assert DEFAULT.read(headers) == ("a" if ours == f"{NAME}=a" else None)
            with pytest.raises(TooManyCookies) as caught:
                DEFAULT.read([*headers, "x"])
            assert caught.value.args == ()


@pytest.mark.threat("DOS-05")
def test_long_cookie_that_is_alone() -> None:
    """A header that is nothing but our cookie may have 16 kB, and not more."""
    assert DEFAULT.read([f"{NAME}=".ljust(16_384, "a")]) == "a" * (16_384 - len(NAME) - 1)
    with pytest.raises(TooManyCookies):
        DEFAULT.read([f"{NAME}=".ljust(16_385, "a")])


@pytest.mark.threat("COO-02")
def test_name_is_no_pattern() -> None:
    """A cookie's name with signs that mean something in a regular expression is found as it is written."""
    cookie = Cookie.from_config(SessionConfig(cookie_name="a.b*c+$|^", insecure_cookies=True))
    assert cookie.read(["x=1; a.b*c+$|^=v"]) == "v"
    assert cookie.read(["x=1; axb*c+$|^=v; a.bbc=v; =v"]) is None


@pytest.mark.threat("COO-10")
def test_modes_do_not_read_each_other() -> None:
    """Secure mode ignores a cookie without the prefix, because anybody on the network could have set it."""
    insecure = Cookie.from_config(SessionConfig(insecure_cookies=True))
    assert (DEFAULT.read(["session=a"]), insecure.read(["session=a"])) == (None, "a")
    assert (DEFAULT.read([f"{NAME}=a"]), insecure.read([f"{NAME}=a"])) == ("a", None)


any_text = st.text(st.characters(exclude_categories=()), max_size=30)
pieces = st.sampled_from([NAME, f"{NAME}=", f"{NAME}=a", "=", ";", "; ", " ", "\t", ",", '"', "a", "x=1", "\n", "\\"])


@pytest.mark.threat("COO-02")
@given(st.lists(any_text | st.lists(pieces, max_size=12).map("".join), max_size=4))
def test_any_header_is_read_by_the_definition(headers: list[str]) -> None:
    """For all headers the result is that of the plain definition; the only error is a conflict, or too many copies."""
    pairs = [pair.strip(" \t") for header in headers for pair in header.split(";")]
    values = {pair[len(NAME) + 1 :] for pair in pairs if pair == NAME or pair.startswith(f"{NAME}=")}
    try:
        assert DEFAULT.read(headers) == (values.pop() if values else None)
    except CookieConflict:
        assert len(values) > 1 or sum(header.count(NAME) for header in headers) > MAX_COPIES
    else:
        assert not values


@given(
    before=st.lists(st.from_regex(r"\A[a-z]{1,5}=[!-:<-~]{0,9}\Z"), max_size=3),
    value=st.from_regex(r"\A[A-Za-z0-9_.-]{1,80}\Z"),
    after=st.lists(st.from_regex(r"\A[a-z]{1,5}=[!-:<-~]{0,9}\Z"), max_size=3),
)
def test_written_value_is_read(before: list[str], value: str, after: list[str]) -> None:
    """The written value is read back, whatever other cookies the browser sends."""
    pair = DEFAULT.write(value, None).partition(";")[0]
    assert DEFAULT.read(["; ".join([*before, pair, *after])]) == value


# The longest cookie


@pytest.mark.threat("COO-08")
def test_default_cookie_is_short() -> None:
    """With the default options the longest cookie has at most 512 bytes."""
    config = SessionConfig()
    text = KEYRING.sign(longest_token(), config.audience)
    assert len(DEFAULT.write(text, int(config.absolute_timeout.total_seconds()))) <= 512


@pytest.mark.threat("COO-08")
@pytest.mark.parametrize("audience", ["a", "aiosess", "a" * 23, "a" * 64, '"' * 64])
def test_no_token_is_longer_than_the_longest(audience: str) -> None:
    """No token of these options is longer than the one that start-up checks the cookie's size with."""
    longest = KEYRING.sign(longest_token(), audience)
    end = datetime.now(UTC) + LONGEST_SESSION
    first = new_token(UUID(int=2**128 - 1), 2**31 - 2, end)
    for token in (first, first.successor()):
        assert len(KEYRING.sign(token, audience)) <= len(longest)
    # The check leaves no room for an end with more digits than those of the next 4,000 years.
    far = new_token(first.session_id, 2**31 - 2, datetime.now(UTC) + timedelta(days=365 * 4000)).successor()
    assert len(KEYRING.sign(far, audience)) <= len(longest)
