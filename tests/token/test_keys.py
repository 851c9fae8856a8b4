"""The keys: how they are derived and rotated, and which secrets are accepted."""

import json
import re
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from hmac import digest
from typing import Any

import pytest

from aiosess._token.keys import Keyring
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
)


@pytest.fixture
def token() -> Token:
    """Return a good token of version 1."""
    return fresh()


@pytest.mark.threat("KEY-02")
def test_derived_keys_are_pinned() -> None:
    """Key id and keys of a secret are those of the fixed vectors: a release changes none of them."""
    key = Keyring(SECRET)._newest  # made here, so that mutmut's changes reach it
    assert (key.id, key.signing.hex(), key.form.hex()) == (KEY_ID, SIGNING_KEY, FORM_KEY)
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
    keys = [Keyring(secret)._newest for secret in (SECRET, OTHER, SECRET + "x")]
    assert len({value for key in keys for value in (key.id, key.signing, key.form, key.version)}) == 12


@pytest.mark.threat("KEY-01")
def test_old_key_verifies_and_newest_signs(token: Token) -> None:
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


def test_key_is_frozen() -> None:
    """A key cannot be changed: all requests share it."""
    key: Any = KEYRING._newest
    with pytest.raises(FrozenInstanceError):
        key.signing = b""


@pytest.mark.threat("LOG-01")
def test_reprs_of_keys_show_nothing_of_them() -> None:
    """Keys and keyrings show neither keys nor secrets when somebody logs them."""
    key = KEYRING._newest
    shown = repr((KEYRING, key, Keyring([SECRET, OTHER])))
    for private in (SECRET, repr(key.signing), repr(key.form), repr(key.version)):
        assert private not in shown
    assert repr(KEYRING) == "<Keyring of 1>"
    assert not re.search(r"[A-Za-z0-9_-]{43}", shown)
