"""Form tokens and origins, without a server: which text is a form token, and which origin is our own."""

from base64 import urlsafe_b64decode
from itertools import product
from uuid import UUID

import pytest

from aiosess._token.form_token import (
    SAFE_METHODS,
    form_token,
    is_form_token,
    is_same_origin,
    masked_form_token,
)

SESSION_ID = UUID(int=1)
KEYS = [b"n" * 32, b"o" * 32]


# Where a request comes from


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize(
    ("origin", "host", "scheme", "ours"),
    [
        ("https://site:8443", "site:8443", "https", True),
        ("https://site:8443", "site", "https", False),
        ("https://site", "site:443", "https", True),
        ("https://site:443", "SITE", "https", True),
        ("HTTPS://Site", "site", "https", True),
        ("http://site", "site:80", "http", True),
        ("https://site", "site:80", "https", False),
        ("http://site", "site:443", "http", False),
        ("https://[::1]:8443", "[::1]:8443", "https", True),
        ("https://", "", "https", False),
    ],
)
def test_origin_is_compared_with_the_host(origin: str, host: str, scheme: str, ours: bool) -> None:  # noqa: FBT001 - a column of the table
    """Origin and Host must name one host and port, with or without the scheme's own port, in any case."""
    assert is_same_origin(None, origin, host, scheme) is ours


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize(
    ("fetch_site", "ours"),
    [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False), ("", False), ("None", False)],
)
@pytest.mark.parametrize(
    ("origin", "host"), list(product((None, "https://site", "https://evil.example"), (None, "site")))
)
def test_fetch_site_alone_decides(fetch_site: str, origin: str | None, host: str | None, *, ours: bool) -> None:
    """If the browser sent Sec-Fetch-Site, neither Origin nor Host changes the answer."""
    assert is_same_origin(fetch_site, origin, host, "https") is ours


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize("fetch_site", [None, "same-origin", "none", "same-site", "cross-site", ""])
@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example", "https://site", None])
def test_allowed_origin_is_good_whatever_the_site(fetch_site: str | None, origin: str | None) -> None:
    """An origin that the application names may send its forms, from another site too; it changes nothing for others."""
    unnamed = is_same_origin(fetch_site, origin, "site", "https")
    named = is_same_origin(fetch_site, origin, "site", "https", {"https://app.example"})
    assert named is (unnamed or origin == "https://app.example")


@pytest.mark.threat("CSR-01")
@pytest.mark.parametrize(("origin", "host"), [(None, "site"), ("https://site", None), (None, None)])
def test_absent_header_is_not_our_origin(origin: str | None, host: str | None) -> None:
    """Without Sec-Fetch-Site a request needs both Origin and Host."""
    assert not is_same_origin(None, origin, host, "https")


@pytest.mark.threat("CSR-01")
def test_safe_methods_are_those_of_rfc_9110() -> None:
    """The methods that need no check are the four that RFC 9110 calls safe."""
    assert {"GET", "HEAD", "OPTIONS", "TRACE"} == SAFE_METHODS


# The form's token


def test_form_token_is_the_hmac_of_the_session() -> None:
    """The token's bytes are fixed: the first key's HMAC-SHA256 of the 16 bytes of the session's id, in base64url."""
    assert form_token(KEYS[0], SESSION_ID) == "58ewBYkqJWuNwIbQIADQZ78mhB0QmBxgPd5oMyYtsL8"


@pytest.mark.threat("CSR-02")
def test_every_key_verifies_and_no_other_text_does() -> None:
    """A form token is good under each key of the ring, for its session only, in one spelling only."""
    good = [form_token(key, SESSION_ID) for key in KEYS]
    assert all(is_form_token(text, KEYS, SESSION_ID) for text in good)
    bad = ["", good[0][:-1], good[0] + "=", good[0].lower(), form_token(b"x" * 32, SESSION_ID), "é", "\ud800", "\0"]
    assert not any(is_form_token(text, KEYS, SESSION_ID) for text in bad)
    assert not any(is_form_token(text, KEYS, UUID(int=2)) for text in good)


@pytest.mark.threat("CSR-05")
def test_masked_tokens_have_nothing_in_common() -> None:
    """Of a thousand fields no two are alike, and no byte of the token keeps a value; each is good for its session."""
    texts = [masked_form_token(KEYS[0], SESSION_ID) for _ in range(1000)]
    spelled = [urlsafe_b64decode(text + "==") for text in texts]
    assert {len(content) for content in spelled} == {64}
    # Each of 64 columns holds at least 200 of 256 values; 1000 random bytes hold about 251.
    assert all(len(set(column)) > 200 for column in zip(*spelled, strict=True))
    assert all(is_form_token(text, KEYS, SESSION_ID) for text in texts)
    assert not any(is_form_token(text, KEYS[1:], SESSION_ID) for text in texts)
    assert not any(is_form_token(text, KEYS, UUID(int=2)) for text in texts)


@pytest.mark.threat("CSR-05")
@pytest.mark.parametrize("place", [0, 42, 43, 85])
def test_masked_token_has_one_spelling(place: int) -> None:
    """A masked token in which one character is another one is not good; nor is one that is cut or longer."""
    text = masked_form_token(KEYS[0], SESSION_ID)
    others = set("ABCDabcd0123-_") - {text[place]}
    assert not any(is_form_token(text[:place] + other + text[place + 1 :], KEYS, SESSION_ID) for other in others)
    assert not any(is_form_token(bad, KEYS, SESSION_ID) for bad in (text[:-1], text + "=", text + "A", text * 1000))
