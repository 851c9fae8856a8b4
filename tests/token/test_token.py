"""The token's record: the fields of a new one and of its successor, and that neither can be changed."""

import base64
import re
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from aiosess._token.token import Token, hash_secret, new_token, new_token_id
from tests.token.forge import SESSION_ID, fresh


@pytest.fixture
def token() -> Token:
    """Return a good token of version 1."""
    return fresh()


def test_successor_goes_on_with_the_session(token: Token) -> None:
    """A successor has the session's secret and end, the next version, an id of its own, and its parent's id."""
    successor = token.successor()
    assert successor == replace(token, version=2, id=successor.id, parent_id=token.id, issued_at=successor.issued_at)
    assert successor.id != token.id != token.successor().id != successor.id


@pytest.mark.threat("TOK-10")
def test_secrets_are_256_random_bits(token: Token) -> None:
    """A secret has 32 bytes, a token id 8, and two tokens differ in both."""
    other = new_token(SESSION_ID, 1, datetime.now(UTC))
    assert len(base64.urlsafe_b64decode(token.secret + "=")) == 32
    assert len(base64.urlsafe_b64decode(new_token_id() + "=")) == 8
    assert token.secret != other.secret
    assert token.id != other.id


def test_database_gets_the_secret_hash_only(token: Token) -> None:
    """The hash that the row keeps is the secret's SHA-256."""
    assert token.secret_hash == hash_secret(token.secret) == sha256(token.secret.encode()).digest()


def test_token_is_frozen() -> None:
    """A token cannot be changed: the reader gives the same object to all requests."""
    token: Any = fresh()
    with pytest.raises(FrozenInstanceError):
        token.version = 2


@pytest.mark.threat("LOG-01")
def test_repr_of_a_token_shows_no_secret_and_no_id(token: Token) -> None:
    """A token shows neither its secret nor an id when somebody logs it."""
    shown = repr((token, token.successor()))
    for private in (token.secret, token.id, str(SESSION_ID), SESSION_ID.hex, repr(token.secret_hash)):
        assert private not in shown
    assert not re.search(r"[A-Za-z0-9_-]{43}", shown)
