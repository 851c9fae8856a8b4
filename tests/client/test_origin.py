"""Origins, without a server: which one is our own, and which texts name one."""

import pytest

from aiosess._client.origin import is_our_origin, parse_origins

ALLOWED = parse_origins(["https://app.example", "https://other.example:8443"])


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize(
    ("origin", "host", "scheme", "ours"),
    [
        ("https://site", "site", "https", True),
        ("https://site:443", "SITE", "https", True),
        ("http://site", "site", "http", True),
        ("http://site", "site", "https", False),
        ("https://site", "site", "http", False),
        ("https://site:8443", "site", "https", False),
        ("https://a.site", "site", "https", False),
        ("https://site", "a.site", "https", False),
        ("https://site", None, "https", False),
        ("https://site, https://site", "site", "https", False),
        ("null", "site", "https", False),
        ("null", "null", "https", False),
        ("", "site", "https", False),
        (None, "site", "https", False),
        ("https://app.example", "site", "https", True),
        ("https://app.example", None, "https", True),
        ("HTTPS://APP.example:443", "site", "http", True),
        ("http://app.example", "site", "https", False),
        ("https://app.example:8443", "site", "https", False),
        ("https://a.app.example", "site", "https", False),
        ("https://other.example:8443", "site", "https", True),
        ("https://other.example", "site", "https", False),
    ],
)
def test_origin_is_ours_or_allowed(origin: str | None, host: str | None, scheme: str, *, ours: bool) -> None:
    """Our own origin is scheme and Host; of the others only those count that the application names, as a whole."""
    assert is_our_origin(origin, host, scheme, ALLOWED) is ours


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8080", True),
        ("app.localhost:8080", True),
        ("localhost.example:8080", False),
        ("evillocalhost:8080", False),
        ("127.0.0.1:8080", False),
    ],
)
def test_page_on_localhost_needs_no_https(host: str, *, ours: bool) -> None:
    """A page on http://localhost is our own there, as it is for browsers; no other name may be reached over http."""
    assert is_our_origin(f"http://{host}", host, "https", ()) is ours
    assert is_our_origin(f"https://{host}", host, "https", ())
    assert not is_our_origin("http://localhost:9090", host, "https", ())


@pytest.mark.threat("WSO-01")
@pytest.mark.parametrize(
    "text",
    [
        *("null", "*", "", "app.example", "//app.example", "https://", "https://app.example/", "https://app.example/x"),
        *("https://*.example", "https://app.example:0", "https://app.example:", "https://ada@app.example"),
        *("wss://app.example", "ftp://app.example", "https://app.example, https://b.example", " https://app.example"),
        *("https://app.example\n", "https://b\u00fccher.example", "https://app.example?", "https://app.example#"),
        *("https://.example", "https://app.example.", 5, None, b"https://app.example"),
    ],
)
def test_text_that_names_no_page_is_refused(text: object) -> None:
    """Only a scheme, a host and perhaps a port make an origin; the message repeats what was given."""
    with pytest.raises(ValueError, match="is not an origin") as caught:
        parse_origins([text])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://[2001:db8::1]:8443", "https://192.0.2.1", "http://localhost", "https://a_b.c-d"]
)
def test_host_may_be_an_address_or_a_name(text: str) -> None:
    """Addresses and names of one label are hosts too."""
    assert parse_origins([text]) == {text}
