"""The token: what is accepted, what is refused and how cheaply, and the keys behind it."""

import base64
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from aiosess._token.codec import MAX_TOKEN_BYTES, InvalidToken
from aiosess._token.keys import Keyring
from aiosess._token.reader import TokenReader
from aiosess._token.token import Token, hash_secret, longest_token, new_token, new_token_id
from aiosess.errors import ConfigError

SECRET = "the first secret of these tests 0123456789"
OTHER = b"another secret of these tests, in bytes \xff\x00"
AUDIENCE = "aiosess"
SESSION_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
KEYRING = Keyring(SECRET)

# Both were computed once, from RFC 5869 with the label in "info"; sessions and forms of a running site depend on them.
KEY_ID = "Rx_5iVGC"
SIGNING_KEY = "7c47b9fe0928c20c2aea27b7a5f32391f3c3300675d35702894769001def6a38"
FORM_KEY = "0f2f6b3336bfb5b9626ffcd9f51bbcc93f95f957ce51c27e5a3c1d5d9ba3951d"


def derived(secret: bytes, label: str, length: int) -> bytes:
    """Derive a key as DESIGN 2 says, without aiosess."""
    return HKDF(SHA256(), length, salt=None, info=f"aiosess v1 {label}".encode()).derive(secret)


def b64(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token, with some changed; a change to `...` leaves the claim out."""
    now = int(time.time())
    good = {
        "sid": str(SESSION_ID),
        "ver": 3,
        "jti": "AAAAAAAAAAA",
        "par": "BBBBBBBBBBA",
        "sec": "C" * 42 + "A",
        "iat": now,
        "exp": now + 3600,
        "aud": AUDIENCE,
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def header(**changes: Any) -> dict[str, Any]:
    """Return the header of a good token, with some fields changed; a change to `...` leaves the field out."""
    good = {"alg": "HS256", "kid": KEY_ID, "typ": "aiosess+jwt"}
    return {name: value for name, value in (good | changes).items() if value is not ...}


def text_of(value: object) -> bytes:
    """Return what a segment is to hold: bytes as they are, anything else as JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def signed(head: object, body: object, key: bytes | None = None, hash_name: str = "sha256") -> str:
    """Sign whatever is given with the real key, as only somebody who has it could."""
    signing_input = f"{b64(text_of(head))}.{b64(text_of(body))}"
    key = derived(SECRET.encode(), "token signing", 32) if key is None else key
    return f"{signing_input}.{b64(digest(key, signing_input.encode(), hash_name))}"


def is_refused(text: str, keyring: Keyring = KEYRING) -> bool:
    """Tell whether the keyring and a reader with its memory both refuse a text."""
    for read in (TokenReader(keyring, AUDIENCE, 10).read, lambda text: keyring.verify(text, AUDIENCE)):
        with pytest.raises(InvalidToken) as caught:
            read(text)
        assert str(caught.value) == ""
    return True


def decoded(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and claims of a token, unverified."""
    head, body, _ = (base64.urlsafe_b64decode(part + "==") for part in text.split("."))
    return json.loads(head), json.loads(body)


@pytest.fixture
def token() -> Token:
    """Return a good token of version 1."""
    return new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=90))


# What a good token is


def test_forged_pieces_make_a_good_token() -> None:
    """The pieces that the hostile tokens below are made of are good ones: each is refused for its change alone."""
    good = claims()
    token = KEYRING.verify(signed(header(), good), AUDIENCE)
    assert (str(token.session_id), token.version, token.id, token.parent_id) == (
        *(good["sid"], good["ver"], good["jti"], good["par"]),
    )
    assert (token.secret, token.issued_at, token.expires_at) == (good["sec"], good["iat"], good["exp"])
    assert token.secret_hash == sha256(good["sec"].encode()).digest()


def test_signed_token_comes_back(token: Token) -> None:
    """What was signed is what is read, the first token and its successor alike."""
    for each in (token, token.successor(), longest_token()):
        assert KEYRING.verify(KEYRING.sign(each, AUDIENCE), AUDIENCE) == each


@given(secret=st.binary(min_size=32, max_size=40), audience=st.from_regex(r"\A[!-~]{1,64}\Z"))
def test_any_key_and_audience_make_readable_tokens(secret: bytes, audience: str) -> None:
    """Whatever characters the key's id, audience and random parts are spelt with, the gate lets a token in."""
    keyring, longest = Keyring(secret), longest_token()
    assert keyring.verify(keyring.sign(longest, audience), audience) == longest


def test_token_and_key_are_frozen(token: Token) -> None:
    """Tokens are remembered and shared by requests, keys by all of them: neither can be changed."""
    for record, name in ((token, "version"), (KEYRING._newest, "signing")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, None)


@pytest.mark.threat("TOK-12")
def test_token_holds_the_allowed_claims_only(token: Token) -> None:
    """Header and claims are those of the design and no more: no user, no data."""
    head, body = decoded(KEYRING.sign(token.successor(), AUDIENCE))
    assert head == {"alg": "HS256", "kid": KEY_ID, "typ": "aiosess+jwt"}
    assert body.keys() == {"sid", "ver", "jti", "par", "sec", "iat", "exp", "aud"}
    assert (body["sid"], body["ver"], body["par"], body["aud"]) == (str(SESSION_ID), 2, token.id, AUDIENCE)


def test_successor_goes_on_with_the_session(token: Token) -> None:
    """A successor has the session's secret and end, the next version, an id of its own, and names its parent."""
    successor = token.successor()
    assert successor == replace(token, version=2, id=successor.id, parent_id=token.id, issued_at=successor.issued_at)
    assert successor.id != token.id != token.successor().id != successor.id


@pytest.mark.threat("TOK-10")
def test_secrets_are_256_random_bits(token: Token) -> None:
    """A secret is 32 bytes, a token id 8, and none comes twice."""
    other = new_token(SESSION_ID, 1, datetime.now(UTC))
    assert len(base64.urlsafe_b64decode(token.secret + "=")) == 32
    assert len(base64.urlsafe_b64decode(new_token_id() + "=")) == 8
    assert token.secret != other.secret
    assert token.id != other.id


def test_database_gets_the_secret_hash_only(token: Token) -> None:
    """What a row keeps of the secret is its SHA-256."""
    assert token.secret_hash == hash_secret(token.secret) == sha256(token.secret.encode()).digest()


# The gate


@pytest.mark.threat("TOK-01")
@pytest.mark.parametrize("byte", range(256))
def test_single_bytes_are_refused(byte: int) -> None:
    """Each single byte is refused: alone as aiohttp decodes it, put behind a good token, and within one."""
    char = bytes([byte]).decode("utf-8", "surrogateescape")
    good = signed(header(), claims())
    middle = good.index(".") + 5
    assert is_refused(char)
    assert is_refused(good + char)
    assert is_refused(good[:middle] + char + good[middle:])


@pytest.mark.threat("TOK-01")
@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "...", "a.b.c", "\x80abc", "\udc80" * 3, "\ud800.\udc80.x", "é.é.é", "null", "{}", "[]"),
        *("[" * 100_000, "." * 100_000, "A" * 1025, "\uff21" * 20 + ".a.a"),
        *(f"{'A' * 20}.{'A' * 20}", f"{'A' * 20}.{'A' * 20}.{'A' * 43}.{'A' * 20}", f".{'A' * 20}.{'A' * 43}"),
        *(f"{'A' * 40}.{'A' * 43}", f"{'A' * 20}.{'A' * 60}"),  # two parts, as long as three
        f"{'A' * 17}.{'A' * 20}.{'A' * 43}",  # 17 characters are no base64
        f"{'A' * 20}.{'A' * 20}.{'A' * 42}B",  # the last character has bits that mean nothing
        f"{b64(b'[' * 190)}.{b64(b'[' * 570)}.{'A' * 43}",
    ],
)
def test_shapeless_text_is_refused(text: str) -> None:
    """Text that is no token is refused without any other error."""
    assert is_refused(text)


@pytest.mark.threat("TOK-01")
def test_token_ends_at_1024_bytes() -> None:
    """A token of 1024 bytes is looked at; one that is longer is not, whatever it says."""
    head = text_of(header()).ljust(192)  # white space that JSON ignores; 256 characters of base64
    longest = signed(head, text_of(claims()).ljust(542))
    longer = signed(head, text_of(claims()).ljust(543))
    assert (len(longest), len(longer)) == (MAX_TOKEN_BYTES, MAX_TOKEN_BYTES + 1)
    assert TokenReader(KEYRING, AUDIENCE, 10).read(longest).token.session_id == SESSION_ID
    assert is_refused(longer)


@pytest.mark.threat("TOK-01")
@given(
    st.text(st.characters(exclude_categories=()), max_size=1100)
    | st.from_regex(r"\A[\w-]{16,40}\.[\w-]{16,40}\.[\w-]{43}\Z")
)
def test_any_text_is_a_token_or_refused(text: str) -> None:
    """Whatever was sent, nothing but InvalidToken is raised."""
    assert is_refused(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(AUDIENCE),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.threat("TOK-01")
@given(
    head=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), json_values, max_size=2),
    body=st.dictionaries(st.sampled_from([*claims(), "nbf", "sub", "iss"]), json_values, max_size=2),
)
def test_any_signed_claims_are_a_token_or_refused(head: dict[str, Any], body: dict[str, Any]) -> None:
    """Not even somebody who has the key can make the reader raise anything but InvalidToken."""
    text = signed(header(**head), claims(**body))
    try:
        token = TokenReader(KEYRING, AUDIENCE, 10).read(text).token
    except InvalidToken:
        return
    assert head.keys() <= {"alg", "kid", "typ"}
    assert (type(token.version), type(token.issued_at), type(token.expires_at)) == (int, int, int)


@pytest.mark.threat("TOK-01")
@given(position=st.integers(min_value=0), char=st.characters(max_codepoint=127))
def test_one_changed_character_is_refused(position: int, char: str) -> None:
    """A good token in which one character differs is refused, the last character's unused bits included."""
    good = signed(header(), claims())
    position %= len(good)
    changed = good[:position] + char + good[position + 1 :]
    assert changed == good or is_refused(changed)


@pytest.mark.threat("TOK-08")
def test_unused_bits_are_refused() -> None:
    """The last character of a signature has bits that mean nothing: only the spelling with zeros is read."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = signed(header(), claims())
    others = [good[:-1] + alphabet[alphabet.index(good[-1]) + bits] for bits in (1, 2, 3)]
    assert len({base64.urlsafe_b64decode(spelling.split(".")[2] + "=") for spelling in (good, *others)}) == 1
    assert all(is_refused(other) for other in others)


# The header


@pytest.mark.threat("TOK-02")
@pytest.mark.parametrize(
    "alg",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS512",
        "HS384",
        "RS256",
        "ES256",
        "EdDSA",
        "hs256",
        "HS256 ",
        "",
        1,
        [],
        ["HS256"],
        {},
        None,
        True,
        ...,
    ],
    ids=repr,
)
def test_one_algorithm_is_pinned(alg: object) -> None:
    """Any `alg` but HS256, or none at all, is refused though the signature is right."""
    assert is_refused(signed(header(alg=alg), claims()))


@pytest.mark.threat("TOK-02")
@pytest.mark.parametrize("name", ["sha384", "sha512"])
def test_stronger_hash_is_refused(name: str) -> None:
    """A token that is consistently HS384 or HS512 under our key is refused."""
    assert is_refused(signed(header(alg=name.replace("sha", "HS")), claims(), hash_name=name))


@pytest.mark.threat("TOK-02")
def test_unsigned_token_is_refused() -> None:
    """`alg: none` with an empty signature, or with any text for one, is refused."""
    key = derived(SECRET.encode(), "token signing", 32)
    unsigned = jwt.encode(claims(), "", algorithm="none", headers=header(alg=...))
    assert unsigned.endswith(".")
    assert is_refused(unsigned)
    assert is_refused(unsigned + "A" * 43)
    assert is_refused(jwt.encode(claims(), key, algorithm="HS256", headers={"kid": KEY_ID}))


@pytest.mark.threat("TOK-02")
@pytest.mark.parametrize("key", [b"", b"\0" * 32, SECRET.encode(), OTHER, KEY_ID.encode()], ids=len)
def test_wrong_key_is_refused(key: bytes) -> None:
    """A signature with no key, a wrong one, the secret itself or the key's public id is refused."""
    assert is_refused(signed(header(), claims(), key))


@pytest.mark.threat("KEY-02")
def test_form_key_signs_no_token() -> None:
    """The key of another purpose, though made of the same secret, verifies nothing here."""
    assert is_refused(signed(header(), claims(), derived(SECRET.encode(), "form token", 32)))


@pytest.mark.threat("TOK-03")
@pytest.mark.parametrize(
    "more",
    [
        {"jku": "https://evil.example/jwks.json"},
        {"jwk": {"kty": "oct", "k": b64(b"0" * 32)}},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["AAAA"]},
        {"x5t": "AAAA"},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
        {"": None},
        {"ALG": "none"},
        {"typ ": "JWT"},
    ],
    ids=json.dumps,
)
def test_header_is_exact(more: dict[str, Any]) -> None:
    """A field more than {alg, kid, typ} is refused though the signature is right (RFC 8725, 3.10)."""
    assert is_refused(signed(header(**more), claims()))


@pytest.mark.threat("TOK-03")
@pytest.mark.parametrize("kid", [..., "", None, 0, [], {}, "AAAAAAAA", "../../dev/null", "' or 1=1 --", True], ids=repr)
def test_kid_names_one_of_our_keys(kid: object) -> None:
    """A key id that is absent, unknown or no text is refused."""
    assert is_refused(signed(header(kid=kid), claims()))


@pytest.mark.threat("TOK-04")
@pytest.mark.parametrize(
    "typ", [..., "JWT", "jwt", "at+jwt", "AIOSESS+JWT", "application/aiosess+jwt", "", None, 1, []], ids=repr
)
def test_typ_is_exact(typ: object) -> None:
    """A token of another type under the same key is refused (RFC 8725, 3.11)."""
    assert is_refused(signed(header(typ=typ), claims()))


@pytest.mark.threat("TOK-03")
@pytest.mark.parametrize(
    "head",
    [
        b'{"alg":"none","alg":"HS256","kid":"%s","typ":"aiosess+jwt"}',
        b'{"alg":"HS256","kid":"AAAAAAAA","kid":"%s","typ":"aiosess+jwt"}',
        b'{"alg":"HS256","kid":"%s","typ":"JWT","typ":"aiosess+jwt"}',
        b'["alg","HS256","kid","%s"]',
        b'"alg HS256 kid %s"',
        b'{"alg":"HS256","kid":"%s","typ":"aiosess+jwt"}{}',
        b'{"alg":"HS256","kid":"%s","typ":"aiosess+jwt",}',
        b'{"alg":"HS256","kid":"%s","typ":"aiosess+jwt","x":"\xff"}',
    ],
)
def test_header_is_read_strictly(head: bytes) -> None:
    """Duplicate fields, another JSON type, text behind the object and bytes that are no UTF-8 are refused."""
    assert is_refused(signed(head % KEY_ID.encode(), claims()))


# The claims


@pytest.mark.threat("TOK-05")
@pytest.mark.parametrize(
    "aud", [..., "other", "Aiosess", "aiosess ", "", [], [AUDIENCE], [AUDIENCE, "b"], None, 1, {}], ids=repr
)
def test_audience_is_exact(aud: object) -> None:
    """A token for another application that shares the key, or for a list of them, is refused."""
    assert is_refused(signed(header(), claims(aud=aud)))


@pytest.mark.threat("TOK-05")
def test_applications_do_not_share_tokens(token: Token) -> None:
    """A's token is refused by B though both have one secret."""
    text = KEYRING.sign(token, "a")
    assert KEYRING.verify(text, "a") == token
    with pytest.raises(InvalidToken):
        KEYRING.verify(text, "b")


@pytest.mark.threat("TOK-06")
@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"iat": 30}, True),
        ({"iat": 600}, False),
        ({"exp": -30}, True),
        ({"exp": -61}, False),
        ({"exp": -600}, False),
        ({"iat": -400 * 86_400}, True),
    ],
)
def test_clocks_may_differ_by_a_minute(changes: dict[str, int], accepted: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A token of a host 30 s ahead or behind is accepted; one of 10 min ahead, or ended a minute ago, is not."""
    now = int(time.time())
    text = signed(header(), claims(**{name: now + seconds for name, seconds in changes.items()}))
    if accepted:
        assert TokenReader(KEYRING, AUDIENCE, 10).read(text).token.session_id == SESSION_ID
    else:
        assert is_refused(text)


@pytest.mark.threat("TOK-06")
def test_not_yet_valid_is_no_claim_of_ours() -> None:
    """`nbf`, like every claim that we do not write, is refused wherever it points."""
    assert is_refused(signed(header(), claims(nbf=int(time.time()) - 60)))


NO_INT = ["1", 1.0, True, False, None, [], {}, -1, 0, "", math.inf, math.nan, 1e400]


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize("value", [..., *NO_INT, 2**31], ids=repr)
def test_version_is_an_int(value: object) -> None:
    """A version that is no positive int of the column's range is refused."""
    assert is_refused(signed(header(), claims(ver=value)))


def test_largest_version_is_read() -> None:
    """The last version that the database's int column holds is accepted."""
    assert KEYRING.verify(signed(header(), claims(ver=2**31 - 1)), AUDIENCE).version == 2**31 - 1


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize("claim", ["iat", "exp"])
@pytest.mark.parametrize(
    "as_type",
    [str, float, bool, lambda _: None, lambda _: ..., lambda _: math.inf, lambda _: 2**62, lambda i: [i], lambda i: -i],
)
def test_instants_are_ints(claim: str, as_type: Callable[[int], object]) -> None:
    """`iat` and `exp` as text, float, boolean, absent, or beyond the calendar are refused; PyJWT takes some of them."""
    value = as_type(claims()[claim])
    assert is_refused(signed(header(), claims(**{claim: value})))


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize("claim", ["jti", "par", "sec"])
@pytest.mark.parametrize(
    "change",
    [
        lambda _: ...,
        lambda _: 1,
        lambda s: [s],
        lambda s: s + "A",
        lambda s: s[:-1],
        lambda s: s[:-1] + "=",
        lambda s: s[:-1] + "\n",
        lambda s: s[:-1] + "é",
        lambda _: "",
    ],
)
def test_ids_and_secret_are_exact_text(claim: str, change: Callable[[str], object]) -> None:
    """Token ids and secret of another type, length or alphabet are refused."""
    assert is_refused(signed(header(), claims(**{claim: change(claims()[claim])})))


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize("claim", ["sid", "jti", "sec"])
def test_only_the_parent_may_be_null(claim: str) -> None:
    """A first token has no parent; no other claim may be null."""
    assert KEYRING.verify(signed(header(), claims(par=None)), AUDIENCE).parent_id is None
    assert is_refused(signed(header(), claims(**{claim: None})))


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize(
    "sid",
    [
        ...,
        1,
        [],
        "",
        "x",
        str(SESSION_ID).upper(),
        SESSION_ID.hex,
        f"{{{SESSION_ID}}}",
        f"urn:uuid:{SESSION_ID}",
        f" {SESSION_ID}",
    ],
    ids=repr,
)
def test_session_id_has_one_spelling(sid: object) -> None:
    """A session id is the canonical text of a UUID, though UUID() reads others too."""
    assert is_refused(signed(header(), claims(sid=sid)))


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize("claim", list(claims()))
def test_duplicate_claims_are_refused(claim: str) -> None:
    """A claim that comes twice is refused, even with the same value: parsers differ in which one they keep."""
    good = claims()
    text = json.dumps(good)[:-1] + f", {json.dumps(claim)}: {json.dumps(good[claim])}}}"
    assert is_refused(signed(header(), text.encode()))


@pytest.mark.threat("TOK-12")
@pytest.mark.parametrize("claim", ["sub", "user_id", "email", "iss", ""])
def test_more_claims_are_refused(claim: str) -> None:
    """A claim that is not ours is refused."""
    assert is_refused(signed(header(), claims(**{claim: "x"})))


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize(
    "body", [b"[]", b"1", b'"sid"', b"null", b"", b"\xff" * 20, b"[" * 500, b'{"sid":' * 80, b"{}"]
)
def test_payload_is_an_object(body: bytes) -> None:
    """A signed payload that is no JSON object of claims is refused."""
    assert is_refused(signed(header(), body))


# The memory


@pytest.fixture
def reader() -> TokenReader:
    """Return a reader that remembers at most 100 tokens."""
    return TokenReader(KEYRING, AUDIENCE, 100)


def remembered(reader: TokenReader) -> int:
    """Return how many tokens a reader remembers."""
    return len(reader._verified)


def test_known_token_has_no_note_at_first(reader: TokenReader) -> None:
    """A token that was only verified is not taken for one that was judged."""
    text = KEYRING.sign(new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=1)), AUDIENCE)
    assert reader.read(text).note is None


def test_note_of_a_known_token_is_kept(reader: TokenReader) -> None:
    """What a reader's caller notes of a token is there when the token is read again."""
    text, note = signed(header(), claims()), object()
    reader.read(text).note = note
    assert reader.read(text).note is note


def test_token_is_verified_once(reader: TokenReader) -> None:
    """The second reading of a token gives the record of the first."""
    text = signed(header(), claims())
    assert reader.read(text) is reader.read(text)
    assert remembered(reader) == 1


@pytest.mark.threat("TOK-06")
def test_remembered_token_still_ends(reader: TokenReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """`exp` is looked at on each reading: the minute's leeway, to the second, ends a remembered token too."""
    text = signed(header(), claims())
    end = reader.read(text).token.expires_at + 60
    monkeypatch.setattr(time, "time", lambda: end - 0.001)
    assert reader.read(text).token.session_id == SESSION_ID
    monkeypatch.setattr(time, "time", lambda: float(end))
    with pytest.raises(InvalidToken):
        reader.read(text)


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
    """More good tokens than the memory holds are all accepted, and it keeps to its size."""
    texts = [signed(header(), claims(ver=version)) for version in range(1, 301)]
    assert [reader.read(text).token.version for text in texts] == list(range(1, 301))
    assert remembered(reader) <= 100
    assert reader.read(texts[0]).token.version == 1


@pytest.mark.threat("TOK-13")
def test_bad_tokens_are_not_remembered(reader: TokenReader) -> None:
    """A forged token leaves nothing behind."""
    for version in range(1, 200):
        with pytest.raises(InvalidToken):
            reader.read(signed(header(), claims(ver=version), b"x" * 32))
    assert remembered(reader) == 0


# The keys


@pytest.mark.threat("KEY-02")
def test_derived_keys_are_pinned() -> None:
    """Key id, signing key and form key of a secret are those of the fixed vectors: a release changes none of them."""
    key = Keyring(SECRET)._newest  # made here, so that mutmut's changes reach it
    assert (key.id, key.signing.hex(), key.form.hex()) == (KEY_ID, SIGNING_KEY, FORM_KEY)


@pytest.mark.threat("KEY-02")
def test_derivation_is_rfc_5869() -> None:
    """The vectors follow from HKDF-SHA256 by hand: extract with an empty salt, expand with the label."""
    pseudorandom = digest(b"\0" * 32, SECRET.encode(), "sha256")
    expected = (("token signing", SIGNING_KEY), ("form token", FORM_KEY))
    for label, key in expected:
        assert digest(pseudorandom, f"aiosess v1 {label}".encode() + b"\x01", "sha256").hex() == key


@pytest.mark.threat("KEY-02")
def test_token_of_an_earlier_release_is_read() -> None:
    """A token that was signed by hand once, with an end in the year 2100, is still read."""
    token = KEYRING.verify(
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IlJ4XzVpVkdDIiwidHlwIjoiYWlvc2Vzcytqd3QifQ.eyJzaWQiOiIwMTg5MGE1ZC1hYzk2L"
        "Tc3NGItYmNjZS1iMzAyMDk5YTgwNTciLCJ2ZXIiOjcsImp0aSI6IkFBQUFBQUFBQUFBIiwicGFyIjpudWxsLCJzZWMiOiJDQ0NDQ"
        "0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NBIiwiaWF0IjoxNzYzODU2MDAwLCJleHAiOjQxMDI0NDQ4MDAsI"
        "mF1ZCI6ImFpb3Nlc3MifQ.wm1KIkTWVhPWhTb3VCC4m0fiFsA2GJ4vcNxCJU5eduY",
        AUDIENCE,
    )
    assert (token.session_id, token.version, token.expires_at) == (SESSION_ID, 7, 4_102_444_800)


def test_keys_of_different_secrets_differ() -> None:
    """Each secret, and each purpose, has a key and an id of its own."""
    keys = [Keyring(secret)._newest for secret in (SECRET, OTHER, SECRET + "x")]
    assert len({value for key in keys for value in (key.id, key.signing, key.form)}) == 9


@pytest.mark.threat("KEY-01")
def test_old_key_verifies_and_newest_signs(token: Token) -> None:
    """After a secret was put in front, old tokens are read, and new ones are signed with the new key."""
    old, both, new = Keyring(SECRET), Keyring([OTHER, SECRET]), Keyring(OTHER)
    assert both.verify(old.sign(token, AUDIENCE), AUDIENCE) == token
    fresh = both.sign(token, AUDIENCE)
    assert decoded(fresh)[0]["kid"] == decoded(new.sign(token, AUDIENCE))[0]["kid"] != KEY_ID
    assert new.verify(fresh, AUDIENCE) == both.verify(fresh, AUDIENCE) == token
    assert is_refused(fresh, old)


@pytest.mark.threat("KEY-01")
def test_rolling_deploy_logs_nobody_out(token: Token) -> None:
    """With the new secret first added behind the old one, processes before and after the change read each other."""
    before, after = Keyring([SECRET, OTHER]), Keyring([OTHER, SECRET])
    assert before.verify(after.sign(token, AUDIENCE), AUDIENCE) == token
    assert after.verify(before.sign(token, AUDIENCE), AUDIENCE) == token


@pytest.mark.threat("KEY-01")
def test_removed_key_reads_nothing(token: Token) -> None:
    """A secret that was taken off the list verifies no token any more."""
    assert is_refused(KEYRING.sign(token, AUDIENCE), Keyring([OTHER]))


@pytest.mark.threat("TOK-02")
def test_kid_picks_one_key() -> None:
    """A token that is signed with one of our keys under the other's id is refused: no key is tried in turn."""
    both = Keyring([OTHER, SECRET])
    assert is_refused(signed(header(), claims(), derived(OTHER, "token signing", 32)), both)


@pytest.mark.threat("KEY-03")
def test_signing_key_alone_makes_no_known_secret() -> None:
    """Whoever has the signing key can sign any session id; the hash of the secret they made up is not the row's."""
    genuine = new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=1))
    forged = KEYRING.verify(signed(header(), claims(sid=str(SESSION_ID), ver=1, jti=genuine.id)), AUDIENCE)
    assert (forged.session_id, forged.id) == (genuine.session_id, genuine.id)
    assert forged.secret_hash != genuine.secret_hash


@pytest.mark.threat("TOK-09")
@pytest.mark.parametrize(
    "secret",
    [
        *("", "x" * 31, b"x" * 31, "é" * 15, b"", []),
        *(["x" * 40, "short"], ["x" * 40, None], [None], [["x" * 40]], [40]),
        *(None, 5, 40.0, True, object(), {"x" * 40: 1}, {"x" * 40}, bytearray(b"x" * 40), range(40), iter(["x" * 40])),
        *(["x" * 40, "x" * 40], ["x" * 40, b"x" * 40], [SECRET, OTHER, SECRET]),
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----",
        "\n  -----BEGIN CERTIFICATE-----\nMIIB" + "A" * 40,
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + b"A" * 40,
        json.dumps({"kty": "oct", "k": b64(b"0" * 32), "alg": "HS256"}),
        '{"keys": [{"kty" : "RSA", "n": "AAAAAAAAAAAAAAAAAAAA", "e": "AQAB"}]}',
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDLnn",
        " ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDLnn",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBE",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIEX",
        "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3Blbn",
        ["x" * 40, "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA=="],
        "\ud800" * 40,
        ["x" * 40, "\ud83d" * 40],
    ],
    ids=lambda secret: repr(secret)[:20],
)
def test_unfit_secret_is_refused(secret: Any) -> None:
    """A secret that is short, a key of another kind, listed twice or no text is a ConfigError that does not show it."""
    with pytest.raises(ConfigError, match=r"^secret: ") as caught:
        Keyring(secret)
    parts = secret if isinstance(secret, list) else [secret]
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert not any(isinstance(part, str) and len(part) > 5 and part in shown for part in parts)
    assert caught.value.__cause__ is None


@pytest.mark.threat("TOK-09")
@pytest.mark.parametrize(
    "secret",
    ["x" * 32, b"x" * 32, "é" * 16, "\udcff" * 32, ("x" * 32,), ["x" * 32, "y" * 32], "ssh or not, this is text" * 2],
)
def test_fit_secret_is_taken(secret: Any, token: Token) -> None:
    """32 bytes are enough: text, bytes, what os.environ makes of odd bytes, or a list of them."""
    keyring = Keyring(secret)
    assert keyring.verify(keyring.sign(token, AUDIENCE), AUDIENCE) == token


def test_text_and_bytes_are_one_secret(token: Token) -> None:
    """A secret gives the same key as text, as its UTF-8, and as an odd byte of the environment."""
    for text, raw in ((SECRET, SECRET.encode()), ("é" * 16, "é".encode() * 16), ("\udcff" * 32, b"\xff" * 32)):
        assert Keyring(raw).verify(Keyring(text).sign(token, AUDIENCE), AUDIENCE) == token


# What is shown


@pytest.mark.threat("LOG-01")
def test_reprs_show_no_secret_and_no_id(token: Token, reader: TokenReader) -> None:
    """Tokens, keys, keyrings and readers show neither secrets nor ids when somebody logs them."""
    key = KEYRING._newest
    text = KEYRING.sign(token, AUDIENCE)
    reader.read(text)
    shown = repr((token, token.successor(), KEYRING, key, reader, Keyring([SECRET, OTHER])))
    for private in (
        *(token.secret, token.id, str(SESSION_ID), SESSION_ID.hex, text, text.split(".")[2], SECRET),
        *(repr(token.secret_hash), repr(key.signing), repr(key.form)),
    ):
        assert private not in shown
    assert repr(KEYRING) == "<Keyring of 1>"
    assert not re.search(r"[A-Za-z0-9_-]{43}", shown)


@pytest.mark.threat("LOG-01")
def test_refusal_says_nothing() -> None:
    """An InvalidToken has no text that could reach a log."""
    for text in ("x", signed(header(), claims(exp=1)), signed(header(), claims(), b"x" * 32)):
        with pytest.raises(InvalidToken) as caught:
            KEYRING.verify(text, AUDIENCE)
        assert caught.value.args == ()
