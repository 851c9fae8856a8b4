"""What a session can keep: everything that is accepted comes back exactly, everything else is refused before SQL."""

import json
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from time import monotonic
from types import FrameType, MappingProxyType
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from aiosess._client.device import describe
from aiosess._postgres.exact_json import (
    MAX_DEPTH,
    check_key,
    check_step,
    check_user_id,
    encode_data,
    encode_patch,
    encode_value,
)
from aiosess._postgres.login import Login
from aiosess._row import Row, session_of
from aiosess._token.token import new_token
from aiosess.errors import InvalidData
from tests.world.parts import Parts, connected

LIMIT = 16 * 1024
Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is refused like the typed one


class Text(str):
    """Text of a type that would not come back."""

    __slots__ = ()


class Number(IntEnum):
    """An int of a type that would not come back."""

    ONE = 1


class Word(StrEnum):
    """Text of another such type."""

    ONE = "one"


def nested(depth: int) -> list[Any]:
    """Return lists in lists, so many of them."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def is_same(left: object, right: object) -> bool:
    """Compare with types: True is not 1, 1.0 is not 1, -0.0 is not 0.0, at any depth."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    return repr(left) == repr(right)


# User ids and keys


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize(
    "user_id", ["1", " ", "O'Brien", "é", "e\u0301", "\u202e", "a\nb", "x" * 512, "é" * 256, "🦊" * 128]
)
def test_user_id_is_kept(user_id: str) -> None:
    """Any text of 1 to 512 bytes is a user id, and is not normalised."""
    assert check_user_id(user_id) is user_id


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize(
    "user_id",
    [
        *("", "x" * 513, "é" * 257, "🦊" * 129, "a\0b", "\0", "\ud800", "a\udc80"),
        *(None, 1, 1.0, True, b"1", ["1"], UUID(int=1), Text("1"), Word.ONE, Number.ONE),
    ],
    ids=repr,
)
def test_odd_user_id_is_refused(user_id: object) -> None:
    """A user id that is no text, empty, too long, or refused by PostgreSQL is InvalidData; the id is not shown."""
    with pytest.raises(InvalidData, match=r"^the user id must ") as caught:
        check_user_id(user_id)
    assert not isinstance(user_id, str) or len(user_id) < 2 or user_id not in str(caught.value)


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize("key", ["", "cart", " ", "a.b", "$", "{a,b}", "é", "\U0010ffff" * 255, "x" * 255])
def test_key_is_kept(key: str) -> None:
    """Any text of up to 255 characters is a key."""
    assert check_key(key) is key


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize(
    "key", ["x" * 256, "a\0", "\udfff", None, 1, True, 1.0, b"a", ("a",), Text("a"), Word.ONE], ids=repr
)
def test_odd_key_is_refused(key: object) -> None:
    """A key of another type, too long, or that PostgreSQL would refuse is InvalidData, also deep in the data."""
    with pytest.raises(InvalidData, match="key must "):
        check_key(key)
    with pytest.raises(InvalidData, match="key must "):
        encode_data({"a": [{key: 1}]}, LIMIT)


# Values

TABLE: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**63,
        -(10**4000),
        "",
        "a",
        "é🦊",
        '"\\/\b\f\n\r\t\x01\x1f\x7f\u2028',
        "e-5",
        '"1e-5',
    ),
    *(0.0, 1.0, -1.5, 0.1, 1e15, 123456789012345.6, 1e-5, 1.5e-7, 5e-324, -5e-324, 2.2250738585072014e-308, 1 / 3),
    *(
        [],
        {},
        [[]],
        {"": {}},
        [1, 1.0, True, None, "1"],
        {"a": {"b": [{"c": None}]}},
        {"1e-5": [1e-5, "1e-5", '\\"1e-5']},
    ),
]


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize("value", TABLE, ids=lambda value: repr(value)[:30])
def test_json_value_is_kept(value: object) -> None:
    """What JSON knows comes back from its text with its type."""
    assert is_same(json.loads(encode_value(value, LIMIT)), value)


REFUSED = [
    *(
        (),
        (1,),
        {1},
        frozenset(),
        b"a",
        bytearray(b"a"),
        1j,
        object(),
        type,
        print,
        Ellipsis,
        Decimal(1),
        Fraction(1, 2),
    ),
    *(datetime.fromtimestamp(0, UTC), timedelta(1), UUID(int=1), Point(1, 2), Number.ONE, Word.ONE, Text("a")),
    *(range(3), iter([])),
    *(OrderedDict(a=1), defaultdict(list), MappingProxyType({"a": 1})),
    *(float("nan"), float("inf"), float("-inf"), -0.0, 1e16, 1e22, -1e300, 1.7976931348623157e308),
    *("\0", "a\0b", "\ud800", "\udc80abc", "\ud83d\udc00x"[:1]),
]


@pytest.mark.threat("DB-07")
@pytest.mark.parametrize("value", REFUSED, ids=lambda value: repr(value).partition(" at 0x")[0][:30])
def test_value_that_would_change_is_refused(value: object) -> None:
    """What jsonb would refuse, or give back as something else, is InvalidData wherever it stands."""
    for data in (value, [value], {"a": value}, [1, [{"a": ["b", value]}]]):
        with pytest.raises(InvalidData):
            encode_value(data, LIMIT)


@pytest.mark.threat("LOG-01")
@pytest.mark.parametrize(
    "data", ["4711-private\0", {"4711-private\0": 1}, {"a": "4711-private" * LIMIT}, ["4711-private\ud800"]]
)
def test_message_shows_no_value(data: object) -> None:
    """The message says what is wrong and shows nothing of the data."""
    with pytest.raises(InvalidData) as caught:
        encode_value(data, LIMIT)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("by", [1.0, True, "1", None, 2**63, -(2**63)])
def test_odd_step_is_refused(by: object) -> None:
    """increment() adds ints of 64 bits."""
    with pytest.raises(InvalidData, match="an increment must be"):
        check_step(by)


@pytest.mark.threat("DB-07")
def test_int_beyond_the_digit_limit_is_refused() -> None:
    """An int that Python itself would not write is InvalidData; one digit less is kept."""
    digits = sys.get_int_max_str_digits()
    assert digits > 0
    assert len(encode_value(10 ** (digits - 1), LIMIT)) == digits
    with pytest.raises(InvalidData, match="digits"):
        encode_value(10**digits, LIMIT)


@pytest.mark.parametrize(
    "data", [None, [], "{}", 1, True, OrderedDict(), defaultdict(int), MappingProxyType({}), [("a", 1)]]
)
def test_data_is_a_dict(data: object) -> None:
    """A whole payload is a dict and nothing like one."""
    assert encode_data({}, LIMIT) == "{}"
    with pytest.raises(InvalidData, match="data must be a dict"):
        encode_data(data, LIMIT)


# Caps


@pytest.mark.threat("DOS-01")
def test_depth_is_capped() -> None:
    """32 levels are kept and 33 refused; a list that holds itself, or a hundred thousand levels, raise nothing else."""
    assert json.loads(encode_value(nested(MAX_DEPTH), LIMIT)) == nested(MAX_DEPTH)
    cyclic: list[Any] = []
    cyclic.append({"a": cyclic})
    for deep in (nested(MAX_DEPTH + 1), nested(100_000), cyclic, {"a": nested(MAX_DEPTH)}):
        with pytest.raises(InvalidData, match="nested deeper than 32"):
            encode_value(deep, LIMIT)


@pytest.mark.threat("DOS-01")
@pytest.mark.parametrize("char", ["x", "é", "🦊", "\x01", '"', "\n"])
def test_size_is_capped_in_bytes(char: str) -> None:
    """The limit is on bytes of JSON text, escapes and UTF-8 included: exactly that many are kept, one more is not."""
    size = len(json.dumps({"a": char * 50}, ensure_ascii=False).encode())
    assert len(encode_data({"a": char * 50}, size).encode()) == size
    with pytest.raises(InvalidData, match=f"max_data_bytes \\({size - 1}\\)"):
        encode_data({"a": char * 50}, size - 1)


def walked(value: object) -> int:
    """Return how many calls it takes to refuse a value as too large, and see that no text is made of it."""
    calls = Counter[str]()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if "call" in event:
            calls[called.__qualname__ if event == "c_call" else frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        with pytest.raises(InvalidData, match="larger"):
            encode_value(value, LIMIT)
    finally:
        sys.setprofile(None)
    assert not {name for name in calls if name.startswith(("JSONEncoder", "dumps"))}
    return calls.total()


@pytest.mark.threat("DOS-04")
@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        lambda size: '"' * size,
        lambda size: 10**size,
        lambda size: [0] * size,
        lambda size: [[]] * size,
        lambda size: [10**4000] * (size // 4000),
        lambda size: [1e-300] * (size // 300),
        lambda size: [5e-324, "1" * 255] * (size // 500),
        lambda size: {str(number): None for number in range(size // 6)},
        lambda size: {"k" * 200 + str(number): None for number in range(size // 200)},
        lambda size: ["\U0001f98a" * 100] * (size // 100),
        lambda size: [{"a": [1e-7]}] * (size // 6),
        lambda size: [["9" * (size // 2)]] * 2,
    ],
)
def test_large_value_is_refused_before_it_is_worked_on(make: Callable[[int], object]) -> None:
    """A value many times too large costs no more work than one that is a little too large, and never becomes text."""
    few, many = walked(make(8 * LIMIT)), walked(make(64 * LIMIT))
    assert many <= few
    assert many < 3 * LIMIT


@pytest.mark.threat("DOS-01")
def test_size_of_small_floats_is_what_is_kept() -> None:
    """1e-300 is six characters for Python and three hundred for jsonb: the limit is on the latter."""
    for value, size in [(1e-5, len("0.00001")), (-1.5e-7, len("-0.00000015")), (1e-300, 302), ([1e-300, 1e-300], 608)]:
        assert encode_value(value, size)
        with pytest.raises(InvalidData, match="larger"):
            encode_value(value, size - 1)
    with pytest.raises(InvalidData, match="larger"):
        encode_data({"a": [5e-324] * 60}, LIMIT)


# The real database


@pytest.fixture
async def parts(dsn: str) -> AsyncIterator[Parts]:
    """Return the library's store on the real database, with the default limits."""
    async with connected(dsn) as parts:
        yield parts


async def sign_in(parts: Parts, user_id: str, text: str) -> Row:
    """Insert a session with some data."""
    login = Login(
        token=new_token(uuid7(), 1, datetime.now(UTC) + timedelta(days=90)),
        user_id=user_id,
        ip=None,
        device=describe(None),
        data=text,
        idle_timeout=timedelta(days=30),
        absolute_timeout=timedelta(days=90),
        remember=True,
        began=monotonic(),
        earlier_id=None,
    )
    row = await parts.logins.authenticate(login)
    assert row is not None
    return row


async def loaded(parts: Parts, row: Row) -> dict[str, Any]:
    """Read a session's data anew."""
    found = await parts.rows.load(row.id)
    assert found is not None
    return dict(session_of(found).data)


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
good_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
small_floats = st.floats(allow_nan=False, allow_infinity=False, max_value=1e15, min_value=-1e15).filter(
    lambda number: repr(number) != "-0.0"
)
any_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4) | st.tuples(inner),
    max_leaves=10,
)
good_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**300), 10**300) | small_floats | good_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(good_text, inner, max_size=4),
    max_leaves=10,
)
# Each example has a session of its own in the one database, so the examples do not disturb each other.
one_database = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.threat("DB-07")
@one_database
@given(data=st.dictionaries(good_text, good_values, max_size=4), key=good_text, value=good_values)
@example(data={"a": True, "b": 1, "c": 1.0, "d": [True, 1, 1.0, 0.0, "1", None]}, key="a", value=1)
@example(data={"1e-5": 5e-324, "e": ["1e-5", 1e-5]}, key="", value=1e-7)
@example(data={"n": 10**4000}, key="n", value=-(10**4000))
@example(data={"a" * 255: "b"}, key="\U0010ffff" * 255, value="\u2028\x7f\x01")
async def test_what_is_saved_is_loaded(parts: Parts, data: dict[str, Any], key: str, value: object) -> None:
    """JSON values come back from login and patch exactly, types included, and take the bytes that were counted."""
    text = encode_data(data, LIMIT)
    row = await sign_in(parts, "user", text)
    assert is_same(await loaded(parts, row), data)
    size = len(row.data.encode())
    assert encode_data(data, size) == text
    with pytest.raises(InvalidData, match="larger"):
        encode_data(data, size - 1)
    patched = await parts.rows.patch(row.id, encode_patch({key: value}, LIMIT))
    assert patched is not None
    assert is_same(await loaded(parts, row), data | {key: value})
    assert is_same(dict(session_of(patched).data), data | {key: value})
    await parts.rows.remove_key(row.id, key)
    assert is_same(await loaded(parts, row), {name: kept for name, kept in data.items() if name != key})


@pytest.mark.threat("DB-07")
@one_database
@given(data=st.dictionaries(any_text, any_values, max_size=3), key=any_text, value=any_values)
@example(data={"\0": 1}, key="a", value=1)
@example(data={}, key="\ud800", value=float("nan"))
async def test_any_value_is_kept_or_refused(parts: Parts, data: dict[str, Any], key: str, value: object) -> None:
    """Whatever is to be saved is refused before SQL, or comes back as it is: the database never has to refuse it."""
    try:
        text, patch = encode_data(data, LIMIT), encode_patch({key: value}, LIMIT)
    except InvalidData:
        return
    row = await sign_in(parts, "user", text)
    assert is_same(await loaded(parts, row), data)
    await parts.rows.patch(row.id, patch)
    assert is_same(await loaded(parts, row), data | {key: value})


@pytest.mark.threat("DB-07")
@one_database
@given(user_id=any_text | good_text.filter(bool))
@example(user_id="é")
@example(user_id="e\u0301")
@example(user_id="x" * 512)
@example(user_id="' or '1'='1")
async def test_any_user_id_is_kept_or_refused(parts: Parts, user_id: str) -> None:
    """A user id is refused before SQL, or names exactly the sessions that were made for it."""
    try:
        check_user_id(user_id)
    except InvalidData:
        with pytest.raises(InvalidData):
            await parts.store.list_for_user(user_id)
        return
    row = await sign_in(parts, user_id, "{}")
    assert row.user_id == user_id
    assert {session.user_id for session in await parts.store.list_for_user(user_id)} == {user_id}
    assert await parts.store.revoke_user(user_id) == 1


@pytest.mark.threat("DB-07")
async def test_user_ids_are_not_folded(parts: Parts) -> None:
    """Ids that look alike are different users: case, normal form, spaces and width count."""
    alike = ["é", "e\u0301", "É", "e", "E", "e ", " e", "\uff45", "e\u200b"]
    for user_id in alike:
        await sign_in(parts, user_id, "{}")
    assert [len(await parts.store.list_for_user(user_id)) for user_id in alike] == [1] * len(alike)


@pytest.mark.threat("DOS-01")
async def test_patches_cannot_pass_the_cap(parts: Parts) -> None:
    """Keys that are set one by one reach the limit to the byte, and what would pass it changes nothing."""
    row = await sign_in(parts, "user", "{}")
    room = LIMIT - len('{"a": "", "b": ""}')
    assert await parts.rows.patch(row.id, encode_patch({"a": "x" * 10_000}, LIMIT)) is not None
    assert await parts.rows.patch(row.id, encode_patch({"b": "y" * (room - 10_000 + 1)}, LIMIT)) is None
    assert await loaded(parts, row) == {"a": "x" * 10_000}
    full = await parts.rows.patch(row.id, encode_patch({"b": "y" * (room - 10_000)}, LIMIT))
    assert full is not None
    assert len(full.data.encode()) == LIMIT
    assert await parts.rows.patch(row.id, '{"c": 1}') is None
    assert await parts.rows.patch(row.id, '{"b": 1}') is not None


@pytest.mark.threat("DOS-01")
async def test_patches_cannot_pass_the_depth(parts: Parts, pg: asyncpg.Connection) -> None:
    """A key's value has the depth cap of its own, so the row is never deeper than one level more."""
    row = await sign_in(parts, "user", "{}")
    assert await parts.rows.patch(row.id, encode_patch({"a": nested(MAX_DEPTH)}, LIMIT)) is not None
    assert await loaded(parts, row) == {"a": nested(MAX_DEPTH)}
    assert await pg.fetchval("select data::text from aiosess_sessions") == '{"a": ' + "[" * 32 + "]" * 32 + "}"


@pytest.mark.threat("DOS-01")
def test_shared_lists_are_counted_as_often_as_they_are_seen() -> None:
    """A few lists that hold one another twice are too many values, and are not walked to the end."""
    value: list[Any] = [0]
    for _ in range(30):
        value = [value, value]
    with pytest.raises(InvalidData, match="max_data_bytes"):
        encode_value(value, 16_384)
