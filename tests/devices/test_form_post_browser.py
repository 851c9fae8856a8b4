"""examples/form_post.py in a real Chromium: which cookies come with a cross-site POST, and with the page after it."""

import html
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser

from examples.form_post import Provider, add_sign_in
from tests.world.app import make_app
from tests.world.site import Site, visit

pytestmark = pytest.mark.needs("chromium")

# A provider's page sends its form by itself.
ANSWER = """<!doctype html><title>Provider</title><body onload="document.forms[0].submit()">
<form method="post" action="{action}"><input name="state" value="{state}"></form>"""


async def believe(_form: Mapping[str, Any], _nonce: str) -> str | None:
    """Believe every answer."""
    return "ada"


async def say_user(request: web.Request) -> web.Response:
    """Show who is asking."""
    return web.Response(text=f"signed in as {request['sessions'].user_id}")


@asynccontextmanager
async def provider_and_site(dsn: str, path: str, samesite: str) -> AsyncIterator[tuple[Site, str]]:
    """Run a provider at 127.0.0.1 and an application at localhost, which is another site; give it and its origin."""

    async def authorize(request: web.Request) -> web.Response:
        state = html.escape(request.query["state"])
        return web.Response(text=ANSWER.format(action=origin + path, state=state), content_type="text/html")

    provider = web.Application()
    provider.add_routes([web.get("/authorize", authorize)])
    async with TestServer(provider) as server:
        app = make_app(dsn, web.get("/", say_user), cookie_samesite=samesite)
        add_sign_in(
            app, Provider(str(server.make_url("/authorize")), {}, believe), "a-key-for-tickets-0123456789-abcdef"
        )
        async with visit(app) as site:
            origin = f"http://localhost:{site.port}"  # Chromium takes Secure cookies from it
            yield site, origin


@pytest.mark.parametrize(
    ("path", "samesite", "left"),
    [
        ("/sign-in/answer", "Lax", 1),
        ("/sign-in/answer", "Strict", 1),
        ("/sign-in/answer-at-once", "Lax", 3),
    ],
)
async def test_cookie_of_the_session_comes_with_our_own_page_only(
    dsn: str, chromium: Browser, path: str, samesite: str, left: int
) -> None:
    """Of three sign-ins one session is left if the page between sends the cookie, and three orphans without it."""
    async with provider_and_site(dsn, path, samesite) as (site, origin):
        context = await chromium.new_context()
        page = await context.new_page()
        for _ in range(3):
            await page.goto(f"{origin}/sign-in")
            await page.get_by_text("signed in as").wait_for()
            await page.goto(origin)  # a page that the user opens, whatever SameSite says
            assert await page.inner_text("body") == "signed in as ada"
        assert len(await site.store.list_for_user("ada")) == left
        await context.close()
