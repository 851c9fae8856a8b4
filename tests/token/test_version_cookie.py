"""The version cookie: what it says of a session's tokens, and that nobody else can say it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hmac import digest
from string import ascii_letters, digits
from typing import Any
from uuid import UUID

import pytest

from aiosess._token.codec import InvalidToken
from aiosess._token.cookie import Cookie
from aiosess._token.keys import Keyring
from aiosess._token.reader import TokenReader
from aiosess._token.token import LARGEST_VERSION, Token, longest_token, new_token
from aiosess._token.version_cookie import Place, at_place, encode_version, newest_token
from aiosess.config import LONGEST_SESSION, SessionConfig
from tests.token.forge import AUDIENCE, KEYRING, OTHER, SECRET, SESSION_ID, VERSION_KEY, b64, derived, reader_of

pytestmark = pytest.mark.threat("ROT-12")

KEY = bytes.fromhex(VERSION_KEY)
ALPHABET = ascii_letters + digits + "-_"
FIRST = new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=1))
SECOND = FIRST.successor()
THIRD = SECOND.successor()
TEXT = encode_version(THIRD, KEY)


def newest(token: Token, text: str, *keys: bytes) -> Token:
    """Return what a token and a version cookie mean together."""
    return newest_token(token, text, keys or (KEY,))


def signed(token: Token, text: str, key: bytes = KEY) -> str:
    """Return a version cookie with any text, rightly signed."""
    return f"{text}.{b64(digest(key, token.session_id.bytes + token.secret_hash + text.encode(), 'sha256'))}"


def reader(size: int = 100) -> TokenReader:
    """Return a reader."""
    return reader_of(size=size)


def text_of(token: Token) -> str:
    """Return the session cookie's value."""
    return KEYRING.sign(token, AUDIENCE)


@pytest.mark.threat("KEY-02")
def test_version_cookie_of_an_earlier_release_is_read() -> None:
    """The text of a version cookie is pinned: one that an earlier release wrote still counts."""
    token = Token(SESSION_ID, 7, "AAAAAAAAAAA", "BBBBBBBBBBA", "", b"\x01" * 32, 0, 2**31)
    text = "7.AAAAAAAAAAA.BBBBBBBBBBA.IXyWjBfxVC4bLx5u6aGM7mqkU4Y64tFhDbX7DjeNrCA"
    assert encode_version(token, KEY) == text == signed(token, "7.AAAAAAAAAAA.BBBBBBBBBBA")
    old = replace(token, version=2, id="CCCCCCCCCCA", parent_id=None)
    assert newest(old, text) == token


def test_old_token_is_taken_for_the_newest() -> None:
    """The newest token is the old one with another version, id and parent; secret and end are those presented."""
    for old in (FIRST, SECOND):
        assert newest(old, TEXT) == replace(THIRD, issued_at=old.issued_at)


def test_token_without_a_parent() -> None:
    """A token that rotate() made has no parent, and its version cookie says so."""
    made = replace(FIRST, version=4, id="AAAAAAAAAAA")
    text = encode_version(made, KEY)
    assert text.startswith("4.AAAAAAAAAAA..")
    assert newest(FIRST, text) == made


def test_token_that_both_cookies_name_is_itself() -> None:
    """The usual case costs no MAC, and gives the very token that was presented."""
    assert newest(THIRD, TEXT) is THIRD
    assert newest(THIRD, TEXT, b"another key") is THIRD


def test_older_version_cookie_changes_nothing() -> None:
    """A session cookie that is newer than the version cookie is taken as it is."""
    assert newest(THIRD, encode_version(SECOND, KEY)) is THIRD


def test_version_cookie_decides_between_siblings() -> None:
    """Of two tokens of one version, the one whose cookie was written to the disk at once is the newest."""
    other = replace(THIRD, id="AAAAAAAAAAA")
    assert newest(other, TEXT).id == THIRD.id
    assert at_place(other, Place(THIRD.version, THIRD.id, THIRD.parent_id)) == THIRD


def test_any_listed_key_counts() -> None:
    """A version cookie outlives a change of the application's secret."""
    both = Keyring([OTHER, SECRET]).version_keys
    assert newest_token(FIRST, TEXT, both).id == newest_token(FIRST, TEXT, reversed(both)).id == THIRD.id
    assert newest_token(FIRST, encode_version(THIRD, both[0]), both).id == THIRD.id


@pytest.mark.parametrize(
    "stranger",
    [
        replace(THIRD, session_id=UUID(int=1)),
        replace(THIRD, secret_hash=b"\x01" * 32),
        new_token(SESSION_ID, 3, datetime.now(UTC) + timedelta(days=1)),
    ],
    ids=["session", "secret", "both"],
)
def test_version_cookie_of_something_else_changes_nothing(stranger: Token) -> None:
    """One of another session, or of the session's earlier secret, says nothing about this token."""
    assert newest(FIRST, encode_version(stranger, KEY)) is FIRST


@pytest.mark.parametrize(
    "key",
    [b"", b"x" * 32, derived(OTHER, "version cookie", 32), derived(SECRET.encode(), "form token", 32)],
    ids=["none", "guessed", "other secret", "other purpose"],
)
def test_version_cookie_under_another_key_changes_nothing(key: bytes) -> None:
    """Only a key of a listed secret, derived for this purpose, signs version cookies."""
    assert newest(FIRST, encode_version(THIRD, key)) is FIRST


def test_every_other_text_changes_nothing() -> None:
    """A version cookie that is cut, longer, or different in one character is none; it has one spelling."""
    texts = {TEXT[:end] for end in range(len(TEXT))} | {TEXT + more for more in (" ", "=", ".", "A", "\n", "\0", "é")}
    texts |= {f"0{TEXT}", f"+{TEXT}", f" {TEXT}", f"{TEXT}.{TEXT}", f"\u0663{TEXT[1:]}", TEXT.replace(".", "..", 1)}
    for place, character in enumerate(TEXT):
        texts |= {TEXT[:place] + other + TEXT[place + 1 :] for other in ALPHABET + ".=%" if other != character}
    assert len(texts) > 4000
    assert all(newest(FIRST, text) is FIRST for text in texts)


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        (f"{LARGEST_VERSION}.AAAAAAAAAAA.", True),
        (f"{LARGEST_VERSION + 1}.AAAAAAAAAAA.", False),
        ("9999999999.AAAAAAAAAAA.", False),
        ("03.AAAAAAAAAAA.", False),
        ("-3.AAAAAAAAAAA.", False),
        ("3.AAAAAAAAAA.", False),
        ("3.AAAAAAAAAAAA.", False),
        ("3.AAAAAAAAAAA.AAAAAAAAAA", False),
        ("3.AAAAAAAAAAA", False),
    ],
)
def test_signed_text_is_read_strictly(place: str, *, counts: bool) -> None:
    """Even with the key, nothing is read that aiosess would not write."""
    assert (newest(FIRST, signed(FIRST, place)) is not FIRST) is counts


@pytest.mark.threat("COO-08")
@pytest.mark.parametrize("samesite", ["Lax", "Strict"])
def test_longest_version_cookie_is_short(samesite: Any) -> None:
    """With the longest name the version cookie stays far below 512 bytes, and its value below 120."""
    config = SessionConfig(cookie_name="a" * 64, cookie_samesite=samesite)
    cookie, value = Cookie.from_config(config).of_version(), encode_version(longest_token(), KEY)
    assert len(value) <= 80
    assert len(cookie.write(value, int(LONGEST_SESSION.total_seconds()))) <= 256


@pytest.mark.threat("COO-01")
def test_version_cookie_bytes() -> None:
    """Its name and attributes are those of the session cookie, and it always has a Max-Age."""
    cookie = Cookie.from_config(SessionConfig()).of_version()
    assert cookie.write("VALUE", 60) == (
        "__Host-session-version=VALUE; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax"
    )


# The reader


def test_pair_is_one_known_token() -> None:
    """A pair that differs from its session cookie has a known token of its own, the same one at each reading."""
    read = reader()
    pair = read.read_newest(text_of(FIRST), TEXT)
    assert (pair.token.id, pair.token.secret) == (THIRD.id, FIRST.secret)
    assert read.read_newest(text_of(FIRST), TEXT) is pair
    assert read.read(text_of(FIRST)) is not pair
    assert pair.ends_at == read.read(text_of(FIRST)).ends_at


@pytest.mark.parametrize(
    "version",
    ["", "nonsense", encode_version(FIRST, KEY), encode_version(THIRD, b"x")],
    ids=["none", "nonsense", "same", "forged"],
)
def test_pair_that_says_nothing_new_is_the_session_cookie(version: str) -> None:
    """Without a version cookie that counts, a token has one known token, and takes no more memory."""
    read = reader()
    assert read.read_newest(text_of(FIRST), version) is read.read(text_of(FIRST))
    assert len(read._verified) == 1


@pytest.mark.threat("DOS-01")
def test_memory_for_pairs_is_bounded() -> None:
    """However many version cookies come with one token, no more are remembered than tokens."""
    read, token = reader(50), FIRST
    for _ in range(200):
        token = token.successor()
        assert read.read_newest(text_of(FIRST), encode_version(token, KEY)).token.id == token.id
    assert len(read._verified) <= 50


@pytest.mark.threat("KEY-03")
def test_version_cookie_mends_no_bad_token() -> None:
    """A token that is refused alone is refused with any version cookie."""
    forged = Keyring(OTHER).sign(FIRST, AUDIENCE)
    for version in ("", TEXT):
        with pytest.raises(InvalidToken):
            reader().read_newest(forged, version)
