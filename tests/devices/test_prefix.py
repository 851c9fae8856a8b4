"""The devices page below a prefix that a proxy strips or keeps, and at its path with a slash."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

import pytest
from aiohttp import ClientSession, DummyCookieJar, UnixConnector, web

import aiosess
from tests.world.app import make_app
from tests.world.devices import OURS, PAGE, signed_in
from tests.world.site import Site, visit
from tests.world.waiting import eventually
from tests.world.wire import COOKIE

LINKS = re.compile(r'\b(?:href|src|data-list|data-sign-in-at)="([^"#]+)"')


async def account(request: web.Request) -> web.Response:
    """Show the list in a page of the application's own."""
    return web.Response(text=f"<body>{await aiosess.device_list(request)}</body>", content_type="text/html")


@asynccontextmanager
async def nginx(port: int, *, upstream: str) -> AsyncIterator[ClientSession]:
    """Run an nginx that hands /shop/ to a port, with the address that the upstream has; return a client of it."""
    with tempfile.TemporaryDirectory(prefix="aiosess") as name:
        folder = Path(name)
        user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not enter the folder
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        (folder / "conf").write_text(
            f"daemon off; pid {folder}/pid; worker_processes 1; {user} events {{}} http {{ access_log off; {temporary}"
            f"server {{ listen unix:{folder}/socket; location /shop/ {{ proxy_pass http://127.0.0.1:{port}{upstream};"
            "proxy_set_header Host $http_host; } } }"
        )
        process = await asyncio.create_subprocess_exec("nginx", "-e", f"{folder}/log", "-c", f"{folder}/conf")
        try:

            async def listens() -> bool:
                try:
                    _, writer = await asyncio.open_unix_connection(folder / "socket")
                except OSError:
                    return False
                writer.close()
                return True

            await eventually(listens)
            connector = UnixConnector(str(folder / "socket"))
            async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as client:
                yield client
        finally:
            process.terminate()
            await process.wait()


async def follow(client: ClientSession, start: str, token: str) -> set[str]:
    """Follow every link below a page as a signed-in browser, and return the addresses; none may be absent."""
    cookies, seen, todo = {"Cookie": f"{COOKIE}={token}"}, set[str](), [start]
    while todo:
        address = todo.pop()
        if address in seen:
            continue
        seen.add(address)
        async with client.get(address, headers=cookies, allow_redirects=False) as response:
            assert response.status == 200, address
            if response.content_type != "text/html":
                continue
            links = LINKS.findall(await response.text())
        assert all(link.startswith(("./", "../")) for link in links), links
        todo += [urldefrag(urljoin(address, link.replace("&amp;", "&"))).url for link in links]
    return seen


@pytest.mark.needs("nginx")
@pytest.mark.parametrize(("prefix", "upstream"), [("", "/"), ("/shop", "")], ids=["stripped", "kept"])
async def test_every_link_behind_a_proxy(dsn: str, prefix: str, upstream: str) -> None:
    """Behind an nginx that strips or keeps a prefix each link, asset and redirect is there, from any depth."""
    # An application with a prefix of its own names a path of its own; one that knows of none begins with a slash.
    options = {"after_logout": "public" if prefix else "/public"}
    app = inner = make_app(dsn, web.get("/a/b/{tail:.*}", account), page=options)
    if prefix:
        app = web.Application()
        app.add_subapp(prefix, inner)
    async with visit(app) as site, nginx(site.port, upstream=upstream) as client:
        tokens = [await _sign_in(client) for _ in range(3)]
        for page in (PAGE, "/a/b/c"):
            seen = await follow(client, f"http://x/shop{page}", tokens[0])
            assert f"http://x/shop{PAGE}/end-others" in seen
            assert "http://x/shop/public" in seen
        assert await _send(client, "end-others", tokens[0]) == f"http://x/shop{PAGE}?done=others"
        assert await _send(client, "sign-out-everywhere", tokens[0]) == "http://x/shop/public"


async def _sign_in(client: ClientSession) -> str:
    async with client.post("http://x/shop/login/ada") as response:
        return response.cookies[COOKIE].value


async def _send(client: ClientSession, way: str, token: str) -> str:
    """Send a form of the page, and return where its answer leads."""
    address, cookies = f"http://x/shop{PAGE}/{way}", {"Cookie": f"{COOKIE}={token}"}
    async with client.get(address, headers=cookies) as response:
        found = re.search(r'name="csrf_token" value="([^"]+)"', await response.text())
    assert found is not None
    form: dict[str, Any] = {"data": {"csrf_token": found[1]}, "headers": cookies | OURS, "allow_redirects": False}
    async with client.post(address, **form) as response:
        assert response.status == 303
        return urljoin(address, response.headers["Location"])


@pytest.mark.site(page={})
async def test_slash_at_the_end(site: Site) -> None:
    """The page's path with a slash leads to the page, with its query, and nobody keeps the redirect."""
    browser = await signed_in(site)
    response = await browser.client.get(f"{PAGE}/?page=1", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (308, "../devices?page=1")
    assert response.headers["Cache-Control"] == "no-store"
    assert (await browser.client.get(f"{PAGE}/")).status == 200


def test_names_of_routes() -> None:
    """Each route has a name that begins with the option's; one that the application has already is refused."""
    app = web.Application()
    aiosess.setup_devices(app, name="devices")
    names = set(app.router.named_resources())
    assert {"devices", "devices_end", "devices_end_others", "devices_sign_out_everywhere", "devices_css"} <= names
    assert str(app.router["devices_list"].url_for()) == f"{PAGE}/list"
    taken = web.Application()
    taken.router.add_get("/x", account, name="aiosess_devices_end")
    with pytest.raises(aiosess.ConfigError, match="aiosess_devices_end"):
        aiosess.setup_devices(taken)
    for wrong in ("", "a b", "class", 5):
        with pytest.raises(aiosess.ConfigError, match=r"^name:"):
            aiosess.setup_devices(web.Application(), name=wrong)  # type: ignore[arg-type]  # what is refused


@pytest.mark.threat("DEV-07")
@pytest.mark.parametrize("option", ["after_logout", "reauthenticate"])
@pytest.mark.parametrize(
    "path", ["//evil", "/\\evil", "..//evil.example", "../x", "evil//x", "https:evil", "", "?x", "a\tb", "\n", "./x"]
)
def test_paths_that_cannot_work(option: str, path: str) -> None:
    """A path that could lead elsewhere, or that names nothing, is refused at start-up."""
    with pytest.raises(aiosess.ConfigError, match=f"^{option}: "):
        aiosess.setup_devices(web.Application(), **{option: path})  # type: ignore[arg-type]  # an option by its name
