"""The page's redirects, assets and GeoIP file, as a browser and the operating system see them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest
from aiohttp import ClientResponse

import aiosess
from tests.world.ageing import age
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.devices import location, text_of
from tests.world.geoip import write_geoip
from tests.world.site import Site, visit

PAGE = "/account/devices"
OURS = {"Sec-Fetch-Site": "same-origin"}
PROTECTION = ("Cache-Control", "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options")


@pytest.fixture
async def site(dsn: str) -> AsyncIterator[Site]:
    """Return a site whose page asks at /prove who the user is."""
    app = make_app(dsn)
    aiosess.setup_devices(app, reauthenticate="/prove", after_logout="/public")
    async with visit(app) as site:
        yield site


async def send(browser: Browser, path: str) -> ClientResponse:
    """Send a form of the page."""

    async def form_token(sessions: aiosess.SessionManager) -> str:
        return sessions.form_token

    token = await browser.run(form_token)
    return await browser.post(f"{PAGE}/{path}", data={"csrf_token": token}, headers=OURS)


def protection(response: ClientResponse) -> dict[str, str | None]:
    """Return the headers that protect a response."""
    return {name: response.headers.get(name) for name in PROTECTION}


@pytest.mark.parametrize("way", ["others", "this one", "everywhere", "stale"])
async def test_redirects_have_the_headers_of_the_page(way: str, site: Site, pg: asyncpg.Connection) -> None:
    """A redirect is kept by no cache and protected as the page is."""
    browser = await (await site.browser()).login("ada")
    expected = protection(await browser.get(PAGE))
    assert None not in expected.values()
    session_id = await pg.fetchval("select id from aiosess_sessions")
    if way == "stale":
        await age(pg, 86_400)
        response = await browser.get(f"{PAGE}/end-others")
    else:
        paths = {"others": "end-others", "this one": f"{session_id}/end", "everywhere": "sign-out-everywhere"}
        response = await send(browser, paths[way])
    assert response.status == 303
    assert protection(response) == expected


@pytest.mark.parametrize("name", ["a&b=c", "a#b", "a?next=//evil.example", "a+b", "ä ö", "100%25"])
async def test_where_to_go_on_is_one_value(name: str, site: Site, pg: asyncpg.Connection) -> None:
    """The path that the proof is to lead back to comes whole, whatever is in it, and adds nothing to the address."""
    browser = await (await site.browser()).login("ada")
    await age(pg, 86_400)
    response = await browser.get(f"{PAGE}/{quote(name, safe='')}/end")
    assert response.status == 303
    leads = urlsplit(location(response))
    assert (leads.path, leads.fragment) == ("/prove", "")
    assert parse_qs(leads.query, strict_parsing=True) == {"next": [f"{PAGE}/{name}/end"]}


@pytest.mark.parametrize("version", ["?v=0123456789ab", "?v=", "", "?v=0123456789ab&v={}", "?w={}"])
async def test_only_the_address_of_this_version_is_kept(version: str, site: Site) -> None:
    """An asset under another version's address, or none, is asked for anew: during a deployment it is another file."""
    browser = await (await site.browser()).login("ada")
    text = await text_of(browser, PAGE)
    found = re.search(rf'"({PAGE}/devices\.css)\?v=(\w+)"', text)
    assert found is not None
    address, current = found.groups()
    kept = await browser.get(f"{address}?v={current}")
    assert "immutable" in kept.headers["Cache-Control"]
    other = await browser.get(address + version.format(current))
    assert (other.status, other.headers["Cache-Control"]) == (200, "no-cache")


async def test_geoip_file_is_closed(dsn: str, tmp_path: Path) -> None:
    """The GeoIP file is mapped while the application runs and no longer when it has stopped."""
    path = write_geoip(tmp_path / "city.mmdb", {"192.0.2.0/24": {"country": {"names": {"en": "Germany"}}}})
    app = make_app(dsn)
    aiosess.setup_devices(app, geoip=path)

    def is_open() -> bool:
        files = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return path in files or str(path) in Path("/proc/self/maps").read_text(encoding="utf-8")

    async with visit(app):
        assert is_open()
    assert not is_open()
