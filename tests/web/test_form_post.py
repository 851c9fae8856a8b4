"""examples/form_post.py: a sign-in whose provider answers by a cross-site POST, as browsers send that."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest
from aiohttp import hdrs

from aiosess import events
from examples.form_post import STATE, TICKET, Provider, add_sign_in
from tests.world.app import make_app
from tests.world.browser import Browser
from tests.world.site import Site, visit
from tests.world.wire import COOKIE

CAP = 10
KEY = "a-key-for-tickets-of-sign-ins-0123456789"


async def identify(form: Mapping[str, Any], nonce: str) -> str | None:
    """Believe an answer that carries the nonce, or none, as SAML's."""
    return str(form["user"]) if form["nonce"] in {nonce, ""} else None


class Visitor:
    """A browser that knows about SameSite, as aiohttp's jar does not: it sends each cookie where a browser would."""

    def __init__(self, site: Site, http: aiohttp.ClientSession) -> None:
        """Start with an empty jar."""
        self._site = site
        self._http = http
        self.jar: dict[str, tuple[str, str]] = {}  # by name: the value, and SameSite

    async def get(self, path: str) -> aiohttp.ClientResponse:
        """Follow a link or a refresh of the site's own."""
        return await self._send("GET", path, self.jar)

    async def post_from_elsewhere(self, path: str, form: dict[str, str]) -> aiohttp.ClientResponse:
        """Send a form that a page of another site has."""
        sent = {name: cookie for name, cookie in self.jar.items() if cookie[1] == "None"}
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://id.example.org"}
        return await self._send("POST", path, sent, data=form, headers=headers)

    async def begin(self) -> dict[str, str]:
        """Go to the provider; return what it was asked."""
        response = await self.get("/sign-in")
        assert response.status == 303
        asked = urlsplit(response.headers["Location"])
        assert (asked.scheme, asked.netloc, asked.path) == ("https", "id.example.org", "/authorize")
        return {name: value for name, (value,) in parse_qs(asked.query).items()}

    async def answer(self, asked: dict[str, str], path: str = "/sign-in/answer", **changes: str) -> int:
        """Let the provider answer, and do what the page says; return the last status."""
        form = {"state": asked["state"], "nonce": asked["nonce"], "user": "ada"} | changes
        response = await self.post_from_elsewhere(path, form)
        refresh = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', await response.text())
        if refresh is not None:
            assert response.headers["Cache-Control"] == "no-store"
            response = await self.get(refresh[1])
        return response.status

    async def user(self) -> str | None:
        """Return who the site says is asking."""
        user: str | None = (await (await self.get("/me")).json())["user"]
        return user

    async def _send(
        self, method: str, path: str, cookies: dict[str, tuple[str, str]], **options: Any
    ) -> aiohttp.ClientResponse:
        headers = options.pop("headers", {})
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, (value, _) in cookies.items())
        url = self._site.server.make_url(path)
        response = await self._http.request(method, url, headers=headers, allow_redirects=False, **options)
        await response.read()
        for line in response.headers.getall(hdrs.SET_COOKIE, []):
            self._keep(line)
        return response

    def _keep(self, line: str) -> None:
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(attributes), "or browsers refuse a __Host- cookie"
        if "Max-Age=0" in attributes:
            self.jar.pop(name, None)
            return
        (samesite,) = [each.partition("=")[2] for each in attributes if each.startswith("SameSite=")]
        self.jar[name] = value.strip('"'), samesite


@asynccontextmanager
async def open_site(dsn: str, **options: Any) -> AsyncIterator[Site]:
    """Run the tests' application with the example's steps."""
    app = make_app(dsn, **options)
    add_sign_in(app, Provider("https://id.example.org/authorize", {"client_id": "us"}, identify), KEY)
    async with visit(app) as site:
        yield site


@pytest.fixture
async def site(dsn: str, happened: list[events.Event]) -> AsyncIterator[Site]:
    """Return a running application that signs in with a provider."""
    async with open_site(dsn, on_event=happened.append) as site:
        yield site


@pytest.fixture
async def visitor(site: Site) -> AsyncIterator[Visitor]:
    """Return a browser that has not been here."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Visitor(site, http)


async def phone_of(site: Site) -> Browser:
    """Sign ada in on a phone, which is used once and then lies in a drawer."""
    phone = await site.browser()
    phone.client.session.headers["User-Agent"] = "Phone/1.0"
    await phone.login("ada")
    assert await phone.user() == "ada"
    await site.installation.upkeep.flush()
    return phone


@pytest.mark.threat("SES-16", "SES-01")
async def test_ten_callbacks_leave_one_session(site: Site, visitor: Visitor, happened: list[events.Event]) -> None:
    """The page between brings the session's cookie along: each sign-in ends the browser's earlier session."""
    phone = await phone_of(site)
    for _ in range(2 * CAP):
        assert await visitor.answer(await visitor.begin()) == 303
        assert await visitor.user() == "ada"
        assert visitor.jar.keys() == {COOKIE}
        assert len(await site.store.list_for_user("ada")) == 2
    assert not [event for event in happened if isinstance(event, events.Evicted)]
    assert await phone.user() == "ada"


@pytest.mark.threat("SES-16")
@pytest.mark.parametrize("goes_on", [True, False])
async def test_callbacks_that_sign_in_at_once_leave_the_phone_alone(
    site: Site, visitor: Visitor, happened: list[events.Event], *, goes_on: bool
) -> None:
    """A callback that signs in without the cookie leaves orphans; over the cap they evict one another."""
    phone = await phone_of(site)
    for number in range(2 * CAP):
        assert await visitor.answer(await visitor.begin(), "/sign-in/answer-at-once") == 303
        if goes_on:
            assert await visitor.user() == "ada"
            await site.installation.upkeep.flush()
        assert len(await site.store.list_for_user("ada")) == min(number + 2, CAP)
    assert not [event for event in happened if isinstance(event, events.Revoked)]
    assert [await visitor.user(), await phone.user()] == ["ada", "ada"]


async def test_answer_to_another_browser_is_refused(site: Site, visitor: Visitor) -> None:
    """Whoever sends their own answer through somebody's browser signs nobody in: it has no state, or another one."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        asked = await Visitor(site, http).begin()
    for path in ("/sign-in/answer", "/sign-in/answer-at-once"):
        visitor.jar.clear()
        assert await visitor.answer(asked, path, nonce="") == 403
        await visitor.begin()
        assert await visitor.answer(asked, path, nonce="") == 403
        assert await visitor.answer(asked, path, nonce="", state="") == 403
    assert await site.store.count() == 0


async def test_planted_state_is_refused(site: Site, visitor: Visitor) -> None:
    """A state that a sibling domain plants, by a cookie whose text looks like two or by a second one, is refused."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        asked = await Visitor(site, http).begin()
    for planted in ({"x": f"1 {STATE}={asked['state']}"}, {STATE: f"mine; {STATE}={asked['state']}"}):
        visitor.jar = {name: (value, "None") for name, value in planted.items()}
        assert await visitor.answer(asked) == 403
    assert await site.store.count() == 0


async def test_answer_that_the_provider_did_not_give_is_refused(site: Site, visitor: Visitor) -> None:
    """An answer with another nonce is refused, and the right one to the same question is good still."""
    asked = await visitor.begin()
    assert await visitor.answer(asked, nonce="another") == 403
    assert await visitor.answer(asked) == 303
    assert await visitor.answer(asked) == 403, "it is good once"
    assert await site.store.count() == 1


@pytest.mark.parametrize(
    ("key", "claims"),
    [
        ("another-key-for-tickets-0123456789-abcdef", {}),
        (KEY, {"exp": int(time.time()) - 1}),
        (KEY, {"aud": "another"}),
    ],
)
async def test_bad_ticket_is_refused(site: Site, visitor: Visitor, key: str, claims: dict[str, Any]) -> None:
    """A ticket that is missing, forged, too old or for something else signs nobody in."""
    assert (await visitor.get("/sign-in/finish")).status == 403
    ticket = jwt.encode({"sub": "ada", "exp": int(time.time()) + 60, "aud": TICKET} | claims, key)
    visitor.jar[TICKET] = ticket, "Lax"
    assert (await visitor.get("/sign-in/finish")).status == 403
    assert await site.store.count() == 0
