"""What the tests of the devices page share: its addresses, a site that has it, and its forms."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import asyncpg
from aiohttp import ClientResponse

from tests.world.app import make_app
from tests.world.browser import Browser, firefox
from tests.world.site import Site, visit

PAGE = "/account/devices"
OURS = {"Sec-Fetch-Site": "same-origin"}
FIREFOX = {"User-Agent": firefox()}
SAFARI = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1"
}
STALE = timedelta(minutes=16).total_seconds()
UNKNOWN = "00000000-0000-7000-8000-000000000000"
WAYS = ("end-others", "sign-out-everywhere")


@asynccontextmanager
async def page_site(dsn: str, *, with_options: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Site]:
    """Run an application with the page for a while; the options are those of setup_devices()."""
    async with visit(make_app(dsn, page=options, **(with_options or {}))) as site:
        yield site


async def signed_in(site: Site, user: str = "ada", headers: dict[str, str] = FIREFOX) -> Browser:
    """Return a browser of a kind, signed in."""
    browser = await site.browser()
    browser.client.session.headers.update(headers)
    return await browser.login(user)


async def form_token(browser: Browser) -> str:
    """Return the form token of a browser's session, from a page of the site."""
    page = await (await browser.get(f"{PAGE}/{await browser.session_id()}/end")).text()
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def send(browser: Browser, path: str, token: str | None = None) -> ClientResponse:
    """Send a form of the page."""
    fields = {"csrf_token": await form_token(browser) if token is None else token}
    return await browser.post(f"{PAGE}/{path}", data=fields, headers=OURS)


async def add_sessions(pg: asyncpg.Connection, number: int, user: str = "ada") -> None:
    """Give a user many more sessions, at different times."""
    await pg.execute(
        """
        insert into aiosess_sessions (
            id, user_id, secret_hash, version, token_id, promoted_at, ip, user_agent, device_name, device_type,
            fingerprint, authenticated_at, created_at, last_active_at, expires_at, ends_at, idle_timeout, remember
        )
        select gen_random_uuid(), $1, sha256(i::text::bytea), 1, 'abcdefghijk', now(), '192.0.2.7', repeat('x', 120),
            'Chrome on Windows', 'desktop', '0123456789abcdef', now(), now() - i * interval '1 second',
            now() - (i * 7919 % 100003) * interval '1 second', now() + interval '1 day', now() + interval '2 days',
            interval '1 day', true
        from generate_series(1, $2) i
        """,
        user,
        number,
    )


def location(response: ClientResponse) -> str:
    """Return where a redirect leads, which names no host and no path from the root."""
    link = response.headers["Location"]
    assert link.startswith(("./", "../"))
    return urljoin(response.url.raw_path, link)


def absolute(text: str, path: str = PAGE) -> str:
    """Return the HTML of a path with its relative links turned into paths."""
    links = re.compile(r'\b(href|src|data-list|data-events|data-sign-in-at)="([^"#]*)"')
    return links.sub(lambda link: f'{link[1]}="{urljoin(path, link[2])}"', text)


async def text_of(browser: Browser, path: str) -> str:
    """Return the HTML of a path with its relative links turned into paths."""
    return absolute(await (await browser.get(path)).text(), path)
