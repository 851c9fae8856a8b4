"""The reader: it verifies a token once, refuses it when it ends, and keeps to its size."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from aiosess._postgres.clock import Clock
from aiosess._token.codec import InvalidToken
from aiosess._token.reader import TokenReader
from aiosess._token.token import new_token
from tests.token.forge import AUDIENCE, KEYRING, SESSION_ID, claims, fresh, header, reader_of, signed


@pytest.fixture
def reader() -> TokenReader:
    """Return a reader that remembers at most 100 tokens."""
    return reader_of(size=100)


def remembered(reader: TokenReader) -> int:
    """Return how many tokens a reader remembers."""
    return len(reader._verified)


def test_known_token_has_no_note_at_first(reader: TokenReader) -> None:
    """A token that was only verified has no note, so its caller has to judge it."""
    text = KEYRING.sign(new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=1)), AUDIENCE)
    assert reader.read(text).note is None


def test_note_of_a_known_token_is_kept(reader: TokenReader) -> None:
    """The caller's note is there when the token is read again."""
    text, note = signed(header(), claims()), object()
    reader.read(text).note = note
    assert reader.read(text).note is note


def test_token_is_verified_once(reader: TokenReader) -> None:
    """The second reading of a token returns the object of the first."""
    text = signed(header(), claims())
    assert reader.read(text) is reader.read(text)
    assert remembered(reader) == 1


@pytest.mark.threat("TOK-06")
def test_remembered_token_still_ends() -> None:
    """`exp` is looked at on each reading: the database's time, with a minute's leeway, ends a remembered token too."""
    clock = Clock()
    reader = TokenReader(KEYRING, AUDIENCE, 100, clock)
    text = signed(header(), claims())
    end = datetime.fromtimestamp(reader.read(text).token.expires_at + 60, UTC)
    clock.learn(end - timedelta(seconds=30))
    assert reader.read(text).token.session_id == SESSION_ID
    clock.learn(end)
    with pytest.raises(InvalidToken):
        reader.read(text)


@pytest.mark.threat("TOK-06")
def test_nothing_has_ended_before_the_database_told_its_time() -> None:
    """A process that has just started leaves it to the check whether a token has ended: its own clock may be wrong."""
    clock = Clock()
    reader = TokenReader(KEYRING, AUDIENCE, 100, clock)
    text = signed(header(), claims(exp=1_000_000_000))
    assert reader.read(text).token.session_id == SESSION_ID
    clock.learn(datetime.fromtimestamp(1_000_000_060, UTC))
    with pytest.raises(InvalidToken):
        reader.read(text)
    with pytest.raises(InvalidToken):
        TokenReader(KEYRING, AUDIENCE, 100, clock).read(text)


@pytest.mark.threat("TOK-08")
def test_memory_does_not_grow_by_spellings(reader: TokenReader) -> None:
    """10,000 spellings of one good token leave one entry, for each but the first is refused."""
    good = signed(header(), claims())
    reader.read(good)
    spellings = [
        change
        for n in range(1, 1251)
        for change in (
            *(good + "=" * n, good + " " * n, " " * n + good, good + "." * n),
            *(good[: n % len(good)] + "=" + good[n % len(good) :], good + "A" * n, good + "%3D" * n, good + f"#{n}"),
        )
    ]
    assert len(spellings) == 10_000
    for spelling in spellings:
        with pytest.raises(InvalidToken):
            reader.read(spelling)
    assert remembered(reader) == 1


@pytest.mark.threat("DOS-01")
def test_memory_is_bounded(reader: TokenReader) -> None:
    """The reader accepts more good tokens than it remembers, and remembers no more than its size."""
    texts = [signed(header(), claims(ver=version)) for version in range(1, 301)]
    assert [reader.read(text).token.version for text in texts] == list(range(1, 301))
    assert remembered(reader) <= 100
    assert reader.read(texts[0]).token.version == 1


@pytest.mark.threat("TOK-13")
def test_bad_tokens_are_not_remembered(reader: TokenReader) -> None:
    """The reader remembers no forged token."""
    for version in range(1, 200):
        with pytest.raises(InvalidToken):
            reader.read(signed(header(), claims(ver=version), b"x" * 32))
    assert remembered(reader) == 0


@pytest.mark.threat("LOG-01")
def test_repr_of_a_reader_shows_no_token(reader: TokenReader) -> None:
    """A reader and its records show nothing of the tokens when somebody logs them."""
    token = fresh()
    text = KEYRING.sign(token, AUDIENCE)
    shown = repr((reader, reader.read(text)))
    for private in (token.secret, token.id, str(SESSION_ID), SESSION_ID.hex, text, text.split(".")[2]):
        assert private not in shown
    assert not re.search(r"[A-Za-z0-9_-]{43}", shown)
