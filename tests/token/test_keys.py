"""The keys: how they are derived and rotated, and which secrets are accepted."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from math import comb
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._token.keys import MIN_DIFFERENT_BYTES, Keyring
from aiosess._token.token import Token, new_token
from aiosess.errors import ConfigError
from tests.token.forge import (
    AUDIENCE,
    FORM_KEY,
    KEY_ID,
    KEYRING,
    OTHER,
    SECRET,
    SESSION_ID,
    SIGNING_KEY,
    VERSION_KEY,
    b64,
    claims,
    decoded,
    derived,
    fresh,
    header,
    is_refused,
    signed,
    text_of,
)

RANDOM = "ZB-3iu0dNkFhJ1vtY_q8Wc7LxTsEo4aR"


@pytest.fixture
def token() -> Token:
    """Return a good token of version 1."""
    return fresh()


@pytest.mark.threat("KEY-02")
def test_derived_keys_are_pinned() -> None:
    """Key id and keys of a secret are those of the fixed vectors: a release changes none of them."""
    key = Keyring(SECRET)._first  # made here, so that mutmut's changes reach it
    assert (key.header, key.signing.hex(), key.form.hex()) == (b64(text_of(header())), SIGNING_KEY, FORM_KEY)
    assert key.version.hex() == VERSION_KEY


@pytest.mark.threat("KEY-02")
def test_derivation_is_rfc_5869() -> None:
    """The vectors follow from HKDF-SHA256 by hand: extract with an empty salt, expand with the label."""
    pseudorandom = digest(b"\0" * 32, SECRET.encode(), "sha256")
    expected = (("token signing", SIGNING_KEY), ("form token", FORM_KEY), ("version cookie", VERSION_KEY))
    for label, key in expected:
        assert digest(pseudorandom, f"aiosess v1 {label}".encode() + b"\x01", "sha256").hex() == key


@pytest.mark.threat("KEY-02")
def test_token_of_an_earlier_release_is_read() -> None:
    """A stored token that was signed by hand, with an end in the year 2100, is still accepted."""
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
    keys = [Keyring(secret)._first for secret in (SECRET, OTHER, SECRET + "x")]
    assert len({value for key in keys for value in (key.header, key.signing, key.form, key.version)}) == 12


@pytest.mark.threat("KEY-01")
def test_old_key_verifies_and_first_signs(token: Token) -> None:
    """With a new secret in front, old tokens are accepted, and new ones are signed with the new key."""
    old, both, new = Keyring(SECRET), Keyring([OTHER, SECRET]), Keyring(OTHER)
    assert both.verify(old.sign(token, AUDIENCE), AUDIENCE) == token
    fresh = both.sign(token, AUDIENCE)
    assert decoded(fresh)[0]["kid"] == decoded(new.sign(token, AUDIENCE))[0]["kid"] != KEY_ID
    assert new.verify(fresh, AUDIENCE) == both.verify(fresh, AUDIENCE) == token
    assert is_refused(fresh, old)


@pytest.mark.threat("KEY-01")
def test_rolling_deploy_logs_nobody_out(token: Token) -> None:
    """If the new secret was added behind the old one first, old and new processes accept each other's tokens."""
    before, after = Keyring([SECRET, OTHER]), Keyring([OTHER, SECRET])
    assert before.verify(after.sign(token, AUDIENCE), AUDIENCE) == token
    assert after.verify(before.sign(token, AUDIENCE), AUDIENCE) == token


@pytest.mark.threat("KEY-01")
def test_removed_key_reads_nothing(token: Token) -> None:
    """A token of a secret that is no longer in the list is refused."""
    assert is_refused(KEYRING.sign(token, AUDIENCE), Keyring([OTHER]))


@pytest.mark.threat("TOK-02")
def test_kid_picks_one_key() -> None:
    """A token that is signed with one of our keys under the other's id is refused: no key is tried in turn."""
    both = Keyring([OTHER, SECRET])
    assert is_refused(signed(header(), claims(), derived(OTHER, "token signing", 32)), both)


@pytest.mark.threat("KEY-03")
def test_signing_key_alone_makes_no_known_secret() -> None:
    """A thief with the signing key can sign any session id, but the hash of a made-up secret is not the row's."""
    genuine = new_token(SESSION_ID, 1, datetime.now(UTC) + timedelta(days=1))
    forged = KEYRING.verify(signed(header(), claims(sid=str(SESSION_ID), ver=1, jti=genuine.id)), AUDIENCE)
    assert (forged.session_id, forged.id) == (genuine.session_id, genuine.id)
    assert forged.secret_hash != genuine.secret_hash


@pytest.mark.threat("TOK-09")
@pytest.mark.parametrize(
    "secret",
    [
        *("", SECRET[:31], OTHER[:31], "é" * 15, b"", []),
        *([SECRET, "short"], [SECRET, None], [None], [[SECRET]], [40]),
        *(None, 5, 40.0, True, object(), {SECRET: 1}, {SECRET}, bytearray(OTHER), range(40), iter([SECRET])),
        *([SECRET, SECRET], [SECRET, SECRET.encode()], [SECRET, OTHER, SECRET]),
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
        [SECRET, "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA=="],
        "\ud800" * 40,
        [SECRET, "\ud83d" * 40],
    ],
    ids=lambda secret: repr(secret)[:20],
)
def test_unfit_secret_is_refused(secret: Any) -> None:
    """A short, repeated or foreign secret is a ConfigError that does not show it."""
    with pytest.raises(ConfigError, match=r"^secret: ") as caught:
        Keyring(secret)
    parts = secret if isinstance(secret, list) else [secret]
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert not any(isinstance(part, str) and len(part) > 5 and part in shown for part in parts)
    assert caught.value.__cause__ is None


@pytest.mark.threat("TOK-09")
@pytest.mark.parametrize(
    "secret",
    [
        *(
            "a" * 32,
            " " * 32,
            "\0" * 32,
            b"\xff" * 32,
            "é" * 16,
            "\udcff" * 32,
            "ab" * 16,
            "abc" * 11,
            "0123" * 8,
            "ab" * 500,
        ),
        *("abcdef" + "a" * 40, b"123456" * 3 + b"654321" * 3, "cbdfaaeaceaebaaddabaedaeabffeaee"),  # six different
        *("abcdefgh" * 4, "password" * 4 + "pass", "0123456789" * 4, "correct horse bat" * 2, bytes(range(16)) * 2),
        *(
            "changeme-changeme-0123456789-abcdef",
            "CHANGE_THIS_TO_SOMETHING_LONG_AND_RANDOM",
            "please change me: 9a7b5c3d1e2f4a6b",
        ),
        *(
            "your-secret-key-of-at-least-32-bytes",
            "<replace me with 32 random bytes...>",
            b"a Placeholder, 32 bytes, honestly",
        ),
        *("my-secret-key-31-my-secret-key-31", "abcdefghijklmnopqrstuvwxyz-abcdefghijklm"),  # repeats a part only
        RANDOM[:22] + RANDOM[:11],
        *(
            bytes(range(32)),
            bytes(range(254, 190, -2)),
            "abcdefghijklmnopqrstuvwxyz012345",
            "zyxwvutsrqponmlkjihgfedcba987654",
        ),
        *("0123456789abcdefghijklmnopqrstuv", "abcdefghijklmnopqrstuvwxyz" + RANDOM[:6], "AbCdEfG" + "z" * 26),
        [SECRET, "x" * 40],
    ],
    ids=repr,
)
def test_secret_that_can_be_guessed_is_refused(secret: Any) -> None:
    """Few different bytes, a repeated pattern, a sequence or a placeholder are no secret, however long."""
    with pytest.raises(
        ConfigError, match=r"^secret: can be guessed; use random text from secrets.token_urlsafe\(32\)$"
    ):
        Keyring(secret)


@pytest.mark.threat("TOK-09")
@pytest.mark.parametrize("space", ["\n", "\r\n", " ", "\t", "\v", "\f"])
@pytest.mark.parametrize("kind", [str, str.encode])
def test_white_space_around_a_secret_is_refused(space: str, kind: Callable[[str], str | bytes]) -> None:
    """A line feed of a file's end would make another key, and sign everybody out when somebody strips it."""
    for secret in (SECRET + space, space + SECRET):
        with pytest.raises(ConfigError, match=r"^secret: begins or ends with white space"):
            Keyring(kind(secret))
    assert repr(Keyring(kind(SECRET[:20] + space + SECRET[20:]))) == "<Keyring of 1>"


@pytest.mark.threat("TOK-09")
@given(st.binary(max_size=100).map(lambda seed: sha256(seed).digest()))
def test_random_secret_is_taken(raw: bytes) -> None:
    """The usual ways to write random bytes are all fit: bytes, hex of 128 bits or more, base64 of both alphabets."""
    for secret in (
        raw,
        raw[:16].hex(),
        raw.hex(),
        b64(raw),
        b64encode(raw),
        b64encode(raw).decode(),
        str(UUID(bytes=raw[:16])),
    ):
        assert repr(Keyring(secret)) == "<Keyring of 1>"


def test_weakest_random_secret_is_refused_less_than_once_in_a_billion() -> None:
    """32 random hex digits have six different ones or fewer with a chance below 1e-9; all other secrets have more."""
    digits, symbols = 32, 16
    onto = {
        kinds: sum((-1) ** less * comb(kinds, less) * (kinds - less) ** digits for less in range(kinds))
        for kinds in range(1, 7)
    }
    assert sum(comb(symbols, kinds) * ways for kinds, ways in onto.items()) / symbols**digits < 1e-9
    assert MIN_DIFFERENT_BYTES == 7


@pytest.mark.threat("TOK-09")
@pytest.mark.parametrize(
    "secret",
    [
        *("dabaegbcdbeaecegfbaeefbcaefaeaeb", b"dabaegbcdbeaecegfbaeefbcaefaeaeb"),  # seven different bytes
        *(RANDOM[:23] + RANDOM[:10], "ab" * 7 + RANDOM[:20]),  # regular, but not enough of it
        *(
            "abcdefghijklmnopqrstuvwxy" + RANDOM[:7],
            "\udcff\udcfe\udcfd" + SECRET[:30],
            OTHER,
            (SECRET,),
            [SECRET, OTHER],
        ),
        "ssh or not, this is text" + "4711" * 2,
        "é" + SECRET + "\n",  # not ASCII: random bytes may look like this
    ],
)
def test_fit_secret_is_taken(secret: Any, token: Token) -> None:
    """32 bytes are enough: text, bytes, what os.environ makes of odd bytes, or a list of them."""
    keyring = Keyring(secret)
    assert keyring.verify(keyring.sign(token, AUDIENCE), AUDIENCE) == token


def test_text_and_bytes_are_one_secret(token: Token) -> None:
    """A secret gives the same key as text, as its UTF-8, and as an odd byte of the environment."""
    for text, raw in (
        (SECRET, SECRET.encode()),
        (f"é{SECRET}", f"é{SECRET}".encode()),
        (f"\udcff{SECRET}", b"\xff" + SECRET.encode()),
    ):
        assert Keyring(raw).verify(Keyring(text).sign(token, AUDIENCE), AUDIENCE) == token


def test_key_is_frozen() -> None:
    """A key cannot be changed: all requests share it."""
    key: Any = KEYRING._first
    with pytest.raises(FrozenInstanceError):
        key.signing = b""


@pytest.mark.threat("LOG-01")
def test_reprs_of_keys_show_nothing_of_them() -> None:
    """Keys and keyrings show neither keys nor secrets when somebody logs them."""
    key = KEYRING._first
    shown = repr((KEYRING, key, Keyring([SECRET, OTHER])))
    for private in (SECRET, repr(key.signing), repr(key.form), repr(key.version)):
        assert private not in shown
    assert repr(KEYRING) == "<Keyring of 1>"
    assert not re.search(r"[A-Za-z0-9_-]{43}", shown)
