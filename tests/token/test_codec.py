"""A token's text: which texts are accepted, which are refused, and that a refusal gives no reason."""

import base64
import hmac
import json
import math
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._token import codec
from aiosess._token.codec import MAX_TOKEN_BYTES, InvalidToken, decode
from aiosess._token.keys import Keyring
from aiosess._token.token import Token, longest_token
from tests.token.forge import (
    AUDIENCE,
    KEY_ID,
    KEYRING,
    OTHER,
    SECRET,
    SESSION_ID,
    b64,
    claims,
    decoded,
    derived,
    fresh,
    header,
    is_refused,
    reader_of,
    signed,
    text_of,
)


@pytest.fixture
def token() -> Token:
    """Return a good token of version 1."""
    return fresh()


# What a good token is


def test_forged_pieces_make_a_good_token() -> None:
    """Unchanged pieces make a good token, so each hostile token below is refused for its change alone."""
    good = claims()
    token = KEYRING.verify(signed(header(), good), AUDIENCE)
    assert (str(token.session_id), token.version, token.id, token.parent_id) == (
        *(good["sid"], good["ver"], good["jti"], good["par"]),
    )
    assert (token.secret, token.issued_at, token.expires_at) == (good["sec"], good["iat"], good["exp"])
    assert token.secret_hash == sha256(good["sec"].encode()).digest()


def test_signed_token_comes_back(token: Token) -> None:
    """A signed token is read as it was, a first token and a successor alike."""
    for each in (token, token.successor(), longest_token()):
        assert KEYRING.verify(KEYRING.sign(each, AUDIENCE), AUDIENCE) == each


@given(secret=st.binary().map(lambda seed: sha256(seed).digest()), audience=st.from_regex(r"\A[!-~]{1,64}\Z"))
def test_any_key_and_audience_make_readable_tokens(secret: bytes, audience: str) -> None:
    """The codec reads every token that it writes, with any key, audience and random parts."""
    keyring, longest = Keyring(secret), longest_token()
    assert keyring.verify(keyring.sign(longest, audience), audience) == longest


@pytest.mark.threat("TOK-12")
def test_token_holds_the_allowed_claims_only(token: Token) -> None:
    """Header and claims are those of the design and no more: no user, no data."""
    head, body = decoded(KEYRING.sign(token.successor(), AUDIENCE))
    assert head == {"alg": "HS256", "kid": KEY_ID, "typ": "aiosess+jwt"}
    assert body.keys() == {"sid", "ver", "jti", "par", "sec", "iat", "exp", "aud"}
    assert (body["sid"], body["ver"], body["par"], body["aud"]) == (str(SESSION_ID), 2, token.id, AUDIENCE)


# The gate


@pytest.mark.threat("TOK-01")
@pytest.mark.parametrize("byte", range(256))
def test_single_bytes_are_refused(byte: int) -> None:
    """Each single byte is refused, decoded as aiohttp does: alone, behind a good token, and within one."""
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


class Asked(dict[str, bytes]):
    """Keys that note how often one was asked for."""

    times = 0

    def get(self, name: str, default: Any = None) -> Any:
        """Note it."""
        self.times += 1
        return super().get(name, default)


@pytest.mark.threat("TOK-01")
def test_gate_ends_at_1024_ascii_characters() -> None:
    """Text of more than 1024 characters, or of others than ASCII, is refused before a key is asked for."""
    keys = Asked()
    for text, times in (("A" * MAX_TOKEN_BYTES, 1), ("A" * (MAX_TOKEN_BYTES + 1), 1), ("\x80", 1), ("\x7f", 2)):
        with pytest.raises(InvalidToken):
            decode(text, AUDIENCE, keys, time.time())
        assert keys.times == times
    assert MAX_TOKEN_BYTES == 1024


def noting(function: Callable[..., Any], texts: list[str]) -> Callable[..., Any]:
    """Return a function that notes the text that it gets before it does its work."""

    def noted(text: str, *arguments: Any, **options: Any) -> Any:
        texts.append(text)
        return function(text, *arguments, **options)

    return noted


@pytest.mark.threat("DOS-05")
@pytest.mark.parametrize("kind", ["signature", "claims", "another key", "header", "audience", "ended", "spelling"])
def test_bad_token_costs_little(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT reads good tokens only, and no parser sees a text that none of our keys has signed."""
    good = signed(header(), claims())
    head, body, signature = good.split(".")
    forged = {
        "signature": f"{head}.{body}.{b64(b'x' * 32)}",
        "claims": f"{head}.{b64(text_of(claims(ver=9)))}.{signature}",
        "another key": signed(header(), claims(), b"x" * 32),
        "header": signed(header(kid="AAAAAAAA"), claims()),
        "audience": signed(header(), claims(aud="another")),
        "ended": signed(header(), claims(exp=int(time.time()) - 61)),
        "spelling": signed(header(), json.dumps(claims()).encode()),
    }[kind]
    parsed: list[str] = []
    read: list[str] = []
    monkeypatch.setattr(codec, "_claims", noting(codec._claims, read))
    monkeypatch.setattr(jwt, "decode", noting(jwt.decode, parsed))
    assert is_refused(forged)
    assert parsed == []
    assert bool(read) is (kind in {"audience", "ended", "spelling"})
    KEYRING.verify(good, AUDIENCE)
    assert parsed == [good]


@pytest.mark.threat("TOK-01")
@given(
    st.text(st.characters(exclude_categories=()), max_size=1100)
    | st.from_regex(r"\A[\w-]{16,40}\.[\w-]{16,40}\.[\w-]{43}\Z")
)
def test_any_text_is_a_token_or_refused(text: str) -> None:
    """No text raises another error than InvalidToken."""
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
    """Even signed with the real key no token makes the reader raise another error than InvalidToken."""
    text = signed(header(**head), claims(**body))
    try:
        token = reader_of().read(text).token
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
    """The last character of a signature has two unused bits: only the spelling with zeros is accepted."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = signed(header(), claims())
    others = [good[:-1] + alphabet[alphabet.index(good[-1]) + bits] for bits in (1, 2, 3)]
    assert len({base64.urlsafe_b64decode(spelling.split(".")[2] + "=") for spelling in (good, *others)}) == 1
    assert all(is_refused(other) for other in others)


def respelled(spell: Callable[[dict[str, Any]], str]) -> Iterator[tuple[bytes, bytes]]:
    """Give header and claims of a good token, each of the two in another spelling of JSON."""
    for odd in ("header", "claims"):
        yield (
            spell(header()).encode() if odd == "header" else text_of(header()),
            spell(claims()).encode() if odd == "claims" else text_of(claims()),
        )


def compact(value: object, **options: Any) -> str:
    """Return JSON without white space."""
    return json.dumps(value, separators=(",", ":"), **options)


SPELLINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "white space": json.dumps,
    "a line each": lambda value: json.dumps(value, indent=1),
    "a space before": lambda value: " " + compact(value),
    "a line feed behind": lambda value: compact(value) + "\n",
    "a tab within": lambda value: compact(value).replace(",", ",\t", 1),
    "another order": lambda value: compact(dict(reversed(value.items()))),
    "first field last": lambda value: compact(dict([*list(value.items())[1:], next(iter(value.items()))])),
    "escaped letters": lambda value: compact(value).replace("aiosess", "\\u0061iosess"),
    "escaped key": lambda value: compact(value).replace('"a', '"\\u0061', 1),
    "capital escapes": lambda value: compact(value).replace("aiosess", "a\\u0069\\u006Fsess"),
    "a byte order mark": lambda value: "\ufeff" + compact(value),
    "a field twice": lambda value: compact(value)[:-1] + "," + compact(value)[1:],
}


@pytest.mark.threat("TOK-08")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_json_is_refused(spelling: str) -> None:
    """Header and claims have one spelling: the same values in any other JSON are refused though rightly signed."""
    for head, body in respelled(SPELLINGS[spelling]):
        assert is_refused(signed(head, body))


@pytest.mark.threat("TOK-08")
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7"]
)
def test_other_encodings_are_refused(encoding: str) -> None:
    """JSON readers guess UTF-16 and UTF-32 and some skip a byte order mark; such tokens are refused."""
    head, body = compact(header()).encode(encoding), compact(claims(sid=str(SESSION_ID))).encode(encoding)
    if encoding == "utf-7":
        body = body.replace(b"aiosess", b"+AGE-iosess")
        head = head.replace(b"aiosess", b"+AGE-iosess")
    assert is_refused(signed(head, text_of(claims())))
    assert is_refused(signed(text_of(header()), body))


@pytest.mark.threat("TOK-08")
@pytest.mark.parametrize("number", ["3.0", "3e0", "30e-1", "0.3e1", "+3", "03", "3 "])
def test_other_numbers_are_refused(number: str) -> None:
    """A number that JSON can spell in another way is refused in that way."""
    good = compact(claims())
    assert is_refused(signed(header(), good.replace('"ver":3', f'"ver":{number}').encode()))


@pytest.mark.threat("TOK-08")
def test_other_base64_is_refused() -> None:
    """A segment with padding, line ends or the alphabet of plain base64 is refused though it is signed as it stands."""
    head, body = b64(text_of(header())), b64(text_of(claims()))
    key = derived(SECRET.encode(), "token signing", 32)
    for change in ("{}=", "{}==", "{}\n", " {}", ".{}", "{}.", "{}A", "{}/", "{}+"):
        for signed_part in (f"{change.format(head)}.{body}", f"{head}.{change.format(body)}"):
            assert is_refused(f"{signed_part}.{b64(hmac.digest(key, signed_part.encode(), 'sha256'))}")


@pytest.mark.threat("TOK-08")
def test_pyjwt_reads_and_writes_our_spelling(token: Token) -> None:
    """What we write is what PyJWT writes of the same claims, so an upgrade of either signs nobody out."""
    head, body = decoded(KEYRING.sign(token, AUDIENCE))
    key = derived(SECRET.encode(), "token signing", 32)
    assert jwt.encode(body, key, headers=head) == KEYRING.sign(token, AUDIENCE)


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
    """A token with HS384 or HS512 in its header and its signature is refused, though the key is ours."""
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
    """A key of another purpose that comes from the same secret signs no token."""
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
    """Application B refuses a token of application A though both have one secret."""
    text = KEYRING.sign(token, "a")
    assert KEYRING.verify(text, "a") == token
    with pytest.raises(InvalidToken):
        KEYRING.verify(text, "b")


@pytest.mark.threat("TOK-06")
@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"iat": 30}, True),
        ({"iat": 600}, True),
        ({"iat": 10 * 86_400}, True),
        ({"iat": -400 * 86_400}, True),
        ({"exp": -30}, True),
        ({"exp": -61}, False),
        ({"exp": -600}, False),
    ],
)
def test_end_counts_and_beginning_does_not(changes: dict[str, int], accepted: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """A token that ended a minute ago is refused; one that says that it is of the future, or of last year, is not."""
    now = int(time.time())
    text = signed(header(), claims(**{name: now + seconds for name, seconds in changes.items()}))
    if accepted:
        assert reader_of().read(text).token.session_id == SESSION_ID
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
    text = compact(good)[:-1] + f",{compact(claim)}:{compact(good[claim])}}}"
    assert is_refused(signed(header(), text.encode()))


@pytest.mark.threat("TOK-12")
@pytest.mark.parametrize("claim", ["sub", "user_id", "email", "iss", ""])
def test_more_claims_are_refused(claim: str) -> None:
    """A token with an additional claim is refused."""
    assert is_refused(signed(header(), claims(**{claim: "x"})))


@pytest.mark.threat("TOK-07")
@pytest.mark.parametrize(
    "body", [b"[]", b"1", b'"sid"', b"null", b"", b"\xff" * 20, b"[" * 500, b'{"sid":' * 80, b"{}"]
)
def test_payload_is_an_object(body: bytes) -> None:
    """A signed payload that is no JSON object of claims is refused."""
    assert is_refused(signed(header(), body))


@pytest.mark.threat("LOG-01")
def test_refusal_says_nothing() -> None:
    """InvalidToken has no text that could get into a log."""
    for text in ("x", signed(header(), claims(exp=1)), signed(header(), claims(), b"x" * 32)):
        with pytest.raises(InvalidToken) as caught:
            KEYRING.verify(text, AUDIENCE, time.time())
        assert caught.value.args == ()


@pytest.mark.threat("TOK-02")
def test_pyjwt_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyJWT refuses is refused, even if all that was looked at before is right."""
    text = signed(header(), claims())
    assert KEYRING.verify(text, AUDIENCE).session_id == SESSION_ID

    def refuse(*_arguments: object, **_options: object) -> None:
        raise jwt.InvalidTokenError

    monkeypatch.setattr(jwt, "decode", refuse)
    assert is_refused(text)
