"""The client's address: which hop is believed, how entries are read, and which proxies can be trusted."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosess._client.address import client_ip, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "2001:db8:ffff::/48"])
UNIX = parse_networks(["unix", "10.0.0.0/8"])

addresses = st.ip_addresses().map(str)
entries = st.one_of(addresses, addresses.map("[{}]:443".format), st.text(max_size=70), st.just("10.0.0.1"))
headers = st.lists(st.one_of(st.lists(entries, max_size=30).map(", ".join), st.text()), max_size=4)
# st.text() leaves lone surrogates out, but aiohttp decodes bytes that are no UTF-8 as such.
raw_text = st.text(st.characters(exclude_categories=()), max_size=600)


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize("header", ["1.2.3.4", "127.0.0.1", "10.0.0.1, 10.0.0.2"])
def test_untrusted_peer_cannot_forward(header: str) -> None:
    """Without trusted proxies, or from a peer that is none of them, the header is ignored."""
    assert client_ip("203.0.113.9", [header], ()) == "203.0.113.9"
    assert client_ip("203.0.113.9", [header], PROXIES) == "203.0.113.9"
    assert client_ip("10.0.0.1", [header], ()) == "10.0.0.1"


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["127.0.0.1, 10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, 10.0.0.3,10.0.0.2"], "198.51.100.7"),
        (["1.1.1.1", "198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        (["1.1.1.1, 198.51.100.7, 2001:db8:ffff::5"], "198.51.100.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([], "10.0.0.1"),
    ],
)
def test_walk_ends_at_the_nearest_untrusted_hop(lines: list[str], expected: str) -> None:
    """Behind trusted proxies the client is the rightmost address that is no proxy, whatever stands to its left."""
    assert client_ip("10.0.0.1", lines, PROXIES) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" \t1.2.3.4\t ", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:102:304]:443", "1.2.3.4"),
    ],
)
def test_entry_forms(entry: str, expected: str) -> None:
    """Addresses are read with and without a port, and are normalised."""
    assert client_ip("10.0.0.1", [f"9.9.9.9, {entry}"], PROXIES) == expected


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize(
    "entry",
    [
        *("", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "16909060", "1.2.3.4:", "1.2.3.4:x"),
        *("fe80::1%eth0", "[fe80::1%1]:443", "[::1", "::1]", "[]", "[::1]x", "2001:db8::1::", "1.2.3.4\n"),
        *("\xa01.2.3.4", "\u0661.2.3.4", "1.2.3.4\x00", '"1.2.3.4"', "1.2.3.4 5.6.7.8", "for=1.2.3.4", "\udc80"),
        " " * 60 + "1.2.3.4",
    ],
)
def test_unreadable_entry_ends_the_walk(entry: str) -> None:
    """An unreadable entry ends the search at the last known hop."""
    assert client_ip("10.0.0.1", [f"9.9.9.9, {entry}, 10.0.0.2"], PROXIES) == "10.0.0.2"


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize("lines", [["9.9.9.9" + ", 10.0.0.2" * 20], ["9.9.9.9", *["10.0.0.2"] * 20], ["x," * 100_000]])
def test_walk_is_bounded(lines: list[str]) -> None:
    """Only the last 20 entries are read, in however many lines they stand."""
    assert client_ip("10.0.0.1", lines, PROXIES) in {"10.0.0.1", "10.0.0.2"}


def test_walk_reaches_the_twentieth_entry() -> None:
    """A chain of 20 hops is still followed to its client."""
    assert client_ip("10.0.0.1", ["8.8.8.8, 9.9.9.9" + ", 10.0.0.2" * 19], PROXIES) == "9.9.9.9"


@pytest.mark.threat("LOG-03")
def test_unix_peer_forwards_when_trusted() -> None:
    """A peer on a Unix socket has no address: its header gives the client if it is trusted, else none does."""
    assert client_ip("", ["198.51.100.7"], UNIX) == "198.51.100.7"
    assert client_ip("", ["198.51.100.7, 10.0.0.2"], UNIX) == "198.51.100.7"
    assert client_ip("", ["unknown"], UNIX) is None
    assert client_ip("", [], UNIX) is None
    assert client_ip("", ["198.51.100.7"], PROXIES) is None


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize("peer", [None, "/run/client.sock", "b'\\x00abstract'", "nonsense", "\udc80", "%eth0"])
def test_unknown_peer_is_never_trusted(peer: str | None) -> None:
    """A peer that reset its connection (None on uvloop) or has an odd name does not pass for a Unix socket."""
    assert client_ip(peer, ["198.51.100.7"], UNIX) is None


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize(("peer", "ip"), [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")])
def test_peer_is_normalised(peer: str, ip: str) -> None:
    """The peer of a dual-stack listener and a link-local one are compared and shown as plain addresses."""
    assert client_ip(peer, ["9.9.9.9"], ()) == ip
    assert client_ip(peer, ["9.9.9.9"], parse_networks([ip])) == "9.9.9.9"


@pytest.mark.threat("LOG-03")
@given(peer=st.none() | addresses | st.just("10.0.0.1") | st.just("") | raw_text, lines=headers)
def test_result_is_an_address_or_none(peer: str | None, lines: list[str]) -> None:
    """For any peer and header the result is a normalised IP address or None."""
    ip = client_ip(peer, lines, UNIX)
    assert ip is None or str(ip_address(ip)) == ip


@pytest.mark.threat("LOG-03")
@given(peer=addresses, lines=headers)
def test_nothing_trusted_means_the_peer(peer: str, lines: list[str]) -> None:
    """If no proxy is trusted no header changes the result."""
    assert client_ip(peer, lines, ()) == client_ip(peer, [], ())


def test_networks_are_parsed() -> None:
    """CIDRs, single addresses and "unix" are accepted; a mapped network becomes the IPv4 one, as peers do."""
    assert parse_networks(()) == ()
    assert parse_networks(["10.0.0.0/8", "192.0.2.1", "unix", "2001:db8::/32", "::ffff:10.0.0.0/104"]) == (
        ip_network("10.0.0.0/8"),
        ip_network("192.0.2.1/32"),
        "unix",
        ip_network("2001:db8::/32"),
        ip_network("10.0.0.0/8"),
    )


@pytest.mark.parametrize(
    "bad",
    ["10.0.0.1/8", "10.0.0.0/33", "*", "", "Unix", "localhost", "fe80::%a/64", " 10.0.0.0/8", 5, None, b"10.0.0.1"],
)
def test_bad_network_is_named(bad: str) -> None:
    """A value that is no network is a ValueError that names it."""
    with pytest.raises(ValueError, match="not a network") as caught:
        parse_networks(["10.0.0.0/8", bad])
    assert repr(bad) in str(caught.value)


@pytest.mark.threat("LOG-03")
@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0", "::ffff:0:0/96"])
def test_trusting_everybody_is_refused(everybody: str) -> None:
    """A network of all addresses would let each client choose its own, so it is refused."""
    with pytest.raises(ValueError, match="everybody") as caught:
        parse_networks([everybody])
    assert everybody in str(caught.value)


def test_one_string_is_not_a_list_of_networks() -> None:
    """A single string instead of a list of networks is an error that says so and names the string."""
    with pytest.raises(ValueError, match=r"not one string: '10\.0\.0\.0/8'"):
        parse_networks("10.0.0.0/8")
