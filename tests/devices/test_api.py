"""The devices page for programs: JSON on the same routes, as its OpenAPI description says."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import asyncpg
import pytest
import schemathesis
from aiohttp import ClientResponse
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.world.ageing import age
from tests.world.browser import Browser
from tests.world.devices import OURS, PAGE, STALE, UNKNOWN, add_sessions, page_site, signed_in
from tests.world.site import Site

SignIn = Callable[[], tuple[str, str, str]]

JSON = {"Accept": "application/json"}


async def listed(browser: Browser, query: str = "") -> dict[str, Any]:
    """Return the list."""
    response = await browser.get(PAGE + query, headers=JSON)
    assert response.status == 200
    content: dict[str, Any] = await response.json()
    return content


async def post(browser: Browser, path: str, token: str | None = None) -> ClientResponse:
    """Do something as a program does."""
    given = (await listed(browser))["csrf_token"] if token is None else token
    return await browser.post(f"{PAGE}/{path}", headers=JSON | OURS | {"X-CSRF-Token": given})


async def test_list(dsn: str) -> None:
    """The list holds what the page shows, and the form token."""
    async with page_site(dsn) as site:
        browser, other = await signed_in(site), await signed_in(site)
        content = await listed(browser)
        ids = [str(await browser.session_id()), str(await other.session_id())]
    assert {name: content[name] for name in ("total", "page", "pages")} == {"total": 2, "page": 1, "pages": 1}
    assert [session["id"] for session in content["sessions"]] == ids
    assert [session["is_current"] for session in content["sessions"]] == [True, False]
    assert content["sessions"][0]["device_name"] == "Firefox on Linux"
    assert content["sessions"][0]["ip"] == "127.0.0.1"
    assert content["sessions"][0]["place"] is None


async def test_pages(dsn: str, pg: asyncpg.Connection) -> None:
    """Beyond the last page the list is empty; what is no page is a 400."""
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        await add_sessions(pg, 60)
        assert [len((await listed(browser, f"?page={number}"))["sessions"]) for number in (1, 2, 3)] == [50, 11, 0]
        for wrong in ("0", "-1", "x", "1.0", "1000001", "%D9%A1", ""):
            assert (await browser.get(f"{PAGE}?page={wrong}", headers=JSON)).status == 400


async def test_end_one(dsn: str) -> None:
    """Ending another session leaves this one; ending this one signs out."""
    async with page_site(dsn) as site:
        browser, other = await signed_in(site), await signed_in(site)
        response = await post(browser, f"{await other.session_id()}/end")
        assert await response.json() == {"ended": 1, "signed_in": True}
        response = await post(browser, f"{await browser.session_id()}/end")
        assert await response.json() == {"ended": 1, "signed_in": False}
        assert [browser.token, await other.user()] == [None, None]


async def test_end_others(dsn: str) -> None:
    """Ending the others says how many there were."""
    async with page_site(dsn) as site:
        browser, _, _ = await signed_in(site), await signed_in(site), await signed_in(site)
        assert await (await post(browser, "end-others")).json() == {"ended": 2, "signed_in": True}
        assert (await listed(browser))["total"] == 1


async def test_sign_out_everywhere(dsn: str) -> None:
    """Signing out everywhere ends this session too."""
    async with page_site(dsn) as site:
        browser, other = await signed_in(site), await signed_in(site)
        assert await (await post(browser, "sign-out-everywhere")).json() == {"ended": None, "signed_in": False}
        assert [browser.token, await other.user()] == [None, None]


@pytest.mark.threat("DEV-03")
async def test_old_sign_in(dsn: str, pg: asyncpg.Connection) -> None:
    """An old sign-in ends no other session: the problem has a type, and says where to prove who one is."""
    async with page_site(dsn, reauthenticate="/prove") as site:
        browser, other = await signed_in(site), await signed_in(site)
        await age(pg, STALE)
        for path in ("end-others", "sign-out-everywhere", f"{await other.session_id()}/end", f"{UNKNOWN}/end"):
            response = await post(browser, path)
            problem = await response.json()
            assert (response.status, response.content_type) == (403, "application/problem+json")
            assert problem["type"] == "urn:aiosess:problem:stale"
            assert urljoin(response.url.raw_path, problem["reauthenticate"]) == "/prove"
        assert await other.user() == "ada"


async def test_problems(dsn: str) -> None:
    """Errors are problem details of RFC 9457, with the headers of all responses, in the client's language."""
    async with page_site(dsn) as site:
        browser, stranger = await signed_in(site), await site.browser()
        answers = [
            await stranger.get(PAGE, headers=JSON),
            await post(browser, "end-others", "wrong"),
            await post(browser, f"{UNKNOWN}/end"),
            await browser.get(f"{PAGE}/end-others", headers=JSON),
        ]
        german = await stranger.get(PAGE, headers=JSON | {"Accept-Language": "de-CH"})
    assert [answer.status for answer in answers] == [401, 403, 404, 406]
    for answer in answers:
        problem = await answer.json(content_type="application/problem+json")
        assert problem["status"] == answer.status
        assert problem["title"]
        assert problem["detail"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Accept" in answer.headers["Vary"]
    assert (await german.json(content_type=None))["title"] == "Sie sind nicht angemeldet"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("application/problem+json, application/json", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/html, application/json;q=0.9, */*;q=0.8", "text/html"),
        ("application/json;charset=utf-8;q=0.2, text/html;q=0.1", "application/json"),
        ("application/json;q=0", "text/html"),
        ("*/*", "text/html"),
        ("", "text/html"),
    ],
)
async def test_negotiation(dsn: str, accept: str, kind: str) -> None:
    """Who likes JSON better than HTML gets it; all others get the page."""
    async with page_site(dsn) as site:
        response = await (await signed_in(site)).get(PAGE, headers={"Accept": accept})
    assert response.content_type == kind


async def test_description_has_the_pages_own_path(dsn: str) -> None:
    """The OpenAPI description is served below the page, with the path that it was given."""
    async with page_site(dsn, path="/me/devices") as site:
        response = await (await site.browser()).get("/me/devices/openapi.json")
        description = await response.json()
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {
        "/me/devices" + below for below in ("", "/{id}/end", "/end-others", "/sign-out-everywhere")
    }


async def test_description_holds(dsn: str) -> None:
    """Schemathesis finds no answer of the running application that the OpenAPI description does not foresee."""
    async with page_site(dsn) as site:
        description = await (await (await site.browser()).get(f"{PAGE}/openapi.json")).json()
        seen: dict[str, set[int]] = {}
        loop = asyncio.get_running_loop()

        def sign_in() -> tuple[str, str, str]:
            return asyncio.run_coroutine_threadsafe(fresh_session(site), loop).result(30)

        await asyncio.to_thread(probe, description, str(site.server.make_url("")), sign_in, seen)
    assert seen == {
        f"GET {PAGE}": {200, 400, 401},
        f"POST {PAGE}/{{id}}/end": {200, 401, 403, 404},
        f"POST {PAGE}/end-others": {200, 401, 403},
        f"POST {PAGE}/sign-out-everywhere": {200, 401, 403},
    }


async def fresh_session(site: Site) -> tuple[str, str, str]:
    """Return the cookie, the form token and the id of a new session."""
    browser = await signed_in(site)
    content = await listed(browser)
    await browser.client.session.close()
    return f"__Host-session={browser.token}", content["csrf_token"], content["sessions"][0]["id"]


FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def probe(description: dict[str, Any], base_url: str, sign_in: SignIn, seen: dict[str, set[int]]) -> None:
    """Ask what the description allows and what it does not, signed in and not, and check each answer against it."""
    # The cookie comes from here: one that is made up would be the only thing that is wrong with half of the requests.
    schema = schemathesis.openapi.from_dict({name: part for name, part in description.items() if name != "security"})
    schema.config.update(base_url=base_url)
    for result in schema.get_all_operations():
        operation = result.ok()
        statuses = seen.setdefault(f"{operation.method.upper()} {operation.path}", set())
        for mode in GenerationMode:
            ask(operation, mode, sign_in, statuses)
        stranger = operation.Case(path_parameters={"id": UNKNOWN} if "{id}" in operation.path else {})
        statuses.add(stranger.call(headers=JSON | OURS).status_code)


def ask(operation: Any, mode: GenerationMode, sign_in: SignIn, statuses: set[int]) -> None:
    """Send requests of one operation, each in a session of its own."""

    @FEW
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        cookie, token, session_id = sign_in()
        headers = JSON | OURS | {"Cookie": cookie}
        if mode is GenerationMode.POSITIVE:
            headers["X-CSRF-Token"] = token
            if "id" in case.path_parameters and 404 in statuses and 200 not in statuses:
                case.path_parameters["id"] = session_id
        statuses.add(case.call_and_validate(headers=headers).status_code)

    send()
