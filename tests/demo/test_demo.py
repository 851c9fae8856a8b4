"""The demo, as a user has it: a process of its own, and browsers that visit it."""

import asyncio
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from threading import Timer
from typing import Self
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from aiosess.devices import local_path
from demo.accounts import SAMPLES
from demo.throttle import Throttle
from demo.views import Refusal
from tests.world.browser import firefox
from tests.world.databases import drop_database, make_database
from tests.world.waiting import eventually
from tests.world.wire import Wire, request_bytes

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 240  # seconds; for a start or a stop on a busy machine
FIREFOX = firefox()
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1"
)


class Demo:
    """``python -m demo`` in a process of its own."""

    def __init__(self, state: Path, *arguments: str, dsn: str | None = None, port: int = 0) -> None:
        """Start it."""
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        if dsn is not None:
            environment["DATABASE_URL"] = dsn
        command = [sys.executable, "-W", "error", "-m", "demo", "--port", str(port), "--state", str(state), *arguments]
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )

    def __enter__(self) -> Self:
        """Wait until it says where it is."""
        self.address = self._wait_for_address()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)  # does nothing when it has ended
        return self.wait()

    def wait(self) -> int:
        """Return the exit code, once there is one; ``errors`` is what was written to stderr."""
        if not self._stderr.closed:
            with self._watched():
                self.process.communicate()
            self._stderr.seek(0)
            self.errors = self._stderr.read()
            self._stderr.close()
        return self.process.returncode

    def _wait_for_address(self) -> str:
        assert self.process.stdout is not None
        self.banner = ""
        with self._watched():
            for line in self.process.stdout:
                self.banner += line
                if "Ctrl-C" in line and (found := re.search(r"https?://localhost:\d+", self.banner)):
                    return found[0]
        code = self.wait()
        pytest.fail(f"the demo ended with {code} before it said where it is: {self.banner}{self.errors}")

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Kill the process when it takes too long to start or to stop."""
        watchdog = Timer(PATIENCE, self.process.kill)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()


class Browser:
    """A cookie jar and somebody who fills in forms."""

    def __init__(self, demo: Demo, user_agent: str) -> None:
        """Start with an empty jar."""
        self.session = ClientSession(demo.address, headers={"User-Agent": user_agent})

    async def get(self, path: str) -> ClientResponse:
        """Ask for a page."""
        response = await self.session.get(path, allow_redirects=False, ssl=False)
        await response.read()
        return response

    async def text(self, path: str) -> str:
        """Return a page that is there."""
        response = await self.get(path)
        assert response.status == 200, (response.status, response.headers)
        return await response.text()

    async def post(
        self, path: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> ClientResponse:
        """Send a form, from a page of the site unless the headers say otherwise."""
        headers = {"Sec-Fetch-Site": "same-origin"} if headers is None else headers
        data = {"csrf_token": await self.form_token(), **(fields or {})}
        response = await self.session.post(path, data=data, headers=headers, allow_redirects=False, ssl=False)
        await response.read()
        return response

    async def form_token(self) -> str:
        """Return what the forms of this browser's pages carry; empty while nobody is signed in."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', await (await self.get("/")).text())
        return found[1] if found else ""

    async def sign_in(self, name: str = "ada", **fields: str) -> ClientResponse:
        """Sign in with the right password."""
        response = await self.post("/sign-in", {"name": name, "password": SAMPLES[name], **fields})
        assert response.status == 303
        return response

    async def is_signed_in(self) -> bool:
        """Ask for the home page and see."""
        response = await self.get("/")
        assert response.status == 200 or response.headers["Location"] == "/sign-in?next=/"
        return response.status == 200


Browsers = Callable[..., Browser]


@pytest.fixture(scope="module")
def demo_dsn(server_dsn: str) -> Iterator[str]:
    """Return the DSN of a database for this module's demo."""
    made = asyncio.run(make_database(server_dsn))
    yield made
    asyncio.run(drop_database(server_dsn, made))


@pytest.fixture(scope="module")
def demo(demo_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Return a demo that runs for all tests that do not stop it."""
    with Demo(tmp_path_factory.mktemp("demo"), dsn=demo_dsn) as running:
        yield running


@pytest.fixture
async def browse() -> AsyncIterator[Browsers]:
    """Return what opens a browser, until the test is over."""
    async with AsyncExitStack() as stack:

        def opened(demo: Demo, user_agent: str = FIREFOX) -> Browser:
            browser = Browser(demo, user_agent)
            stack.push_async_callback(browser.session.close)
            return browser

        yield opened


@pytest.fixture
def state() -> Iterator[Path]:
    """Return an empty directory with a short name: a Unix socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="demo") as path:
        yield Path(path)


async def test_one_browser_signs_the_other_out(demo: Demo, browse: Browsers) -> None:
    """Two browsers sign in, one ends the other's session, and the other is out at its next request."""
    firefox, safari = browse(demo), browse(demo, SAFARI)
    await firefox.sign_in()
    await safari.sign_in()
    page = await firefox.text("/devices")
    assert page.index("Firefox on Linux") < page.index("This device") < page.index("Safari on iOS")
    assert await safari.is_signed_in()
    response = await firefox.post(_first_other(page))
    assert _target(response) == "/devices?done=ended"
    assert not await safari.is_signed_in()
    assert await firefox.is_signed_in()


async def test_all_others(demo: Demo, browse: Browsers) -> None:
    """Ending the others keeps this session; signing out everywhere keeps none."""
    first, second, third = browse(demo), browse(demo), browse(demo)
    for browser in (first, second, third):
        await browser.sign_in()
    await first.post("/devices/end-others")
    assert [await browser.is_signed_in() for browser in (first, second, third)] == [True, False, False]
    await second.sign_in()
    response = await first.post("/devices/sign-out-everywhere")
    assert _target(response) == "/sign-in?done=signed-out"
    assert [await browser.is_signed_in() for browser in (first, second)] == [False, False]


async def test_foreign_and_unknown_sessions_are_alike(demo: Demo, browse: Browsers) -> None:
    """Somebody else's session, one that never was, and what is no id at all are the same page, and nothing ends."""
    ada, grace = browse(demo), browse(demo)
    await ada.sign_in()
    await ada.sign_in()  # from the same browser: still one session
    await grace.sign_in("grace")
    another = browse(demo)
    await another.sign_in("grace")
    foreign = _first_other(await grace.text("/devices"))
    answers = [
        await ada.post(path)
        for path in (foreign, f"/devices/{'0' * 8}-0000-7000-8000-{'0' * 12}/end", "/devices/x/end")
    ]
    assert {answer.status for answer in answers} == {404}
    bodies = [await answer.text() for answer in answers]
    assert len({re.sub(r'(name="csrf_token" value=")[^"]+', r"\1", body) for body in bodies}) == 1  # each has a mask
    assert await another.is_signed_in()


async def test_ending_sessions_needs_a_recent_proof(demo: Demo, demo_dsn: str, browse: Browsers) -> None:
    """An old sign-in ends no session until the password was given again, which a wrong one does not do."""
    stale, other = browse(demo), browse(demo)
    await stale.sign_in()
    await other.sign_in()
    await _run(demo_dsn, "update aiosess_sessions set authenticated_at = authenticated_at - interval '16 minutes'")
    wanted = "/devices/end-others"
    assert _target(await stale.post(wanted)) == f"/confirm?next={wanted}"
    assert await other.is_signed_in()
    assert (await stale.post("/confirm", {"password": "wrong", "next": wanted})).status == 403
    assert _target(await stale.post(wanted)) == f"/confirm?next={wanted}"
    response = await stale.post("/confirm", {"password": SAMPLES["ada"], "next": wanted})
    assert response.headers["Location"] == wanted
    assert "End all other sessions?" in await stale.text(wanted)
    await stale.post("/devices/end-others")
    assert [await stale.is_signed_in(), await other.is_signed_in()] == [True, False]


async def test_wrong_name_and_wrong_password_are_alike(demo: Demo, browse: Browsers) -> None:
    """An unknown name gets the answer that a wrong password gets, and no cookie."""
    browser = browse(demo)
    answers = [
        await browser.post("/sign-in", {"name": name, "password": "wrong"}) for name in ("grace", "nobody", "a\0b", "")
    ]
    assert {answer.status for answer in answers} == {403}
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    pages = [re.sub(r'id="name" name="name" value="[^"]*"', "", await answer.text()) for answer in answers]
    assert len(set(pages)) == 1


async def test_guessing_is_slowed_down(demo: Demo, browse: Browsers) -> None:
    """After ten wrong passwords in a row even the right one has to wait, and is told how long."""
    browser = browse(demo)
    for _ in range(10):
        assert (await browser.post("/sign-in", {"name": "mallory", "password": "guess"})).status == 403
    refused = await browser.post("/sign-in", {"name": "Mallory ", "password": "guess"})
    assert refused.status == 429
    assert 240 < int(refused.headers["Retry-After"]) <= 300
    assert "Please try again in 5 minutes." in await refused.text()


def test_waiting_gets_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait counts from the first try: trying on makes it no longer, and after it there are ten tries again."""
    now = 1000.0
    monkeypatch.setattr("demo.throttle.monotonic", lambda: now)
    throttle = Throttle(limit=1, span=300)
    assert [throttle.wait("::1", "ada") for _ in range(3)] == [0, 300, 300]
    now += 299.5
    assert throttle.wait("::1", "ada") == 1
    assert Refusal.too_often(1).text == "Too many tries. Please try again in a minute."
    now += 0.5
    assert throttle.wait("::1", "ada") == 0


async def test_notes_belong_to_one_session(demo: Demo, browse: Browsers) -> None:
    """A note is there for the session that wrote it, escaped, until it is removed; another session never sees it."""
    one, other = browse(demo), browse(demo)
    await one.sign_in()
    await other.sign_in()
    await one.post("/notes", {"note": "<script>bread</script>"})
    await one.post("/notes/count")
    await one.post("/notes/count")
    page = await one.text("/notes")
    assert "&lt;script&gt;bread" in page
    assert ">2</output>" in page
    assert "bread" not in await other.text("/notes")
    await one.post("/notes/remove")
    assert "bread" not in await one.text("/notes")
    refused = await one.post("/notes", {"note": "a\0b"})
    assert refused.status == 422


@pytest.mark.threat("DEV-07")
@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "/a/..//evil"]
)
async def test_redirects_stay_here(demo: Demo, browse: Browsers, wanted: str) -> None:
    """What is no plain path of this site leads to the home page."""
    assert (await browse(demo).sign_in(next=wanted)).headers["Location"] == "/"
    assert local_path(wanted) == "/"


async def test_signing_in_leads_on(demo: Demo, browse: Browsers) -> None:
    """Whoever asks for a page without being signed in gets to it by signing in."""
    browser = browse(demo)
    response = await browser.get("/devices")
    assert response.headers["Location"] == "/sign-in?next=/devices"
    assert 'name="next" value="/devices"' in await browser.text("/sign-in?next=/devices")
    assert (await browser.sign_in(next="/devices")).headers["Location"] == "/devices"


async def test_first_visit_speaks_of_no_session(demo: Demo, demo_dsn: str, browse: Browsers) -> None:
    """Only somebody who brings a cookie hears that a session may have ended, and not after signing out."""
    ended = "that session was ended or has expired"
    browser = browse(demo)
    for path in ("/", "/devices"):
        assert ended not in await browser.text(_target(await browser.get(path)))
    await browser.sign_in()
    await _run(demo_dsn, "delete from aiosess_sessions")
    assert ended in await browser.text(_target(await browser.get("/devices")))
    await browser.sign_in()
    assert ended not in await browser.text((await browser.post("/sign-out")).headers["Location"])


@pytest.mark.parametrize("path", ["/notes", "/notes/remove", "/notes/count"])
async def test_form_that_comes_too_late_leads_back_to_its_page(
    path: str, demo: Demo, demo_dsn: str, browse: Browsers
) -> None:
    """Whoever keeps a note after the session has ended is asked to sign in, and led to the notes from there."""
    browser = browse(demo)
    await browser.sign_in()
    token = {"csrf_token": await browser.form_token()}
    await _run(demo_dsn, "delete from aiosess_sessions")
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with browser.session.post(path, data=token, headers=headers, allow_redirects=False) as response:
        assert response.headers["Location"] == "/sign-in?next=/notes"


@pytest.mark.threat("CSR-05")
async def test_stale_forms_of_two_tabs(demo: Demo, browse: Browsers) -> None:
    """A second tab's sign-in form works; a note from before it comes back in a form that can be sent."""
    browser = browse(demo)
    await browser.sign_in()
    stale = await browser.form_token()
    assert (await browser.sign_in("grace", csrf_token="")).status == 303
    again = await browser.post("/notes", {"csrf_token": stale, "note": "half a page"})
    text = await again.text()
    assert (again.status, "half a page" in text, "save once more" in text) == (422, True, True)
    assert (await browser.post("/notes", {"note": "half a page"})).status == 303


@pytest.mark.parametrize("remember", [True, False])
async def test_stay_signed_in(demo: Demo, browse: Browsers, remember: bool) -> None:  # noqa: FBT001 - a parameter
    """Only the box makes the cookie outlive the browser."""
    response = await browse(demo).sign_in(**({"remember": "yes"} if remember else {}))
    assert ("Max-Age" in response.headers["Set-Cookie"]) is remember


@pytest.mark.threat("CSR-04")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "OURS"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "OTHER SCHEME"}, 403),
        ({}, 403),
        ({"Origin": "OURS"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
    ],
)
async def test_other_sites_change_nothing(demo: Demo, browse: Browsers, headers: dict[str, str], status: int) -> None:
    """A form that another site sends is refused, the sign-in form too."""
    known = {"OURS": demo.address, "OTHER SCHEME": demo.address.replace("http:", "https:")}
    headers = {name: known.get(value, value) for name, value in headers.items()}
    browser = browse(demo)
    fields = {"name": "ada", "password": SAMPLES["ada"]}
    assert (await browser.post("/sign-in", fields, headers=headers)).status == status
    assert await browser.is_signed_in() is (status == 303)
    await browser.sign_in()
    await browser.post("/sign-out", headers=headers)
    assert await browser.is_signed_in() is (status == 403)


@pytest.mark.parametrize("path", ["/sign-in", "/", "/nowhere", "/static/style.css", "/static/nowhere"])
async def test_security_headers(demo: Demo, browse: Browsers, path: str) -> None:
    """Every response forbids foreign content, frames and sniffing, and no page has a script or a style inside."""
    response = await browse(demo).get(path)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert not re.search(r"<script|<style|style=|\bon[a-z]+=", await response.text())


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{}", "application/json", 415),
        ("name=%ff%00", "application/x-www-form-urlencoded; charset=nonsense", 400),
        ("name=" + "a" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_bad_forms(demo: Demo, browse: Browsers, body: str, kind: str, status: int) -> None:
    """What is no form, or too large a one, is refused with a page."""
    headers = {"Sec-Fetch-Site": "none", "Content-Type": kind}
    async with browse(demo).session.post("/sign-in", data=body, headers=headers) as response:
        assert response.status == status
        assert "aiosess" in await response.text()


async def test_an_outage_signs_nobody_out(demo: Demo, demo_dsn: str, server_dsn: str, browse: Browsers) -> None:
    """While the database is away, pages say so and ask to try again; when it is back, everybody is still signed in."""
    browser = browse(demo)
    await browser.sign_in()
    await _close_database(server_dsn, demo_dsn)
    try:
        response = await browser.get("/devices")
        assert response.status == 503
        assert response.headers["Retry-After"] == "2"
        assert "Try again" in await response.text()
        assert "Set-Cookie" not in response.headers
    finally:
        await _run(server_dsn, f"alter database {_name(demo_dsn)} allow_connections true")

    async def is_back() -> bool:
        return (await browser.get("/devices")).status != 503

    await eventually(is_back)
    assert await browser.is_signed_in()


async def test_restart(state: Path, browse: Browsers) -> None:
    """With its own database: Ctrl-C ends everything quietly, and the next start finds sessions and data again."""
    with Demo(state) as demo:
        browser = browse(demo)
        await browser.sign_in()
        await browser.post("/notes", {"note": "bread"})
        [postgres] = _servers(state)
        assert demo.stop() == 0
    assert "Traceback" not in demo.errors
    assert not _servers(state)
    assert not _is_running(postgres)
    assert stat.S_IMODE((state / "secret").stat().st_mode) == 0o600
    with Demo(state, port=urlsplit(demo.address).port or 0):
        assert "bread" in await browser.text("/notes")


async def test_banner_tells_how_to_sign_everybody_out(state: Path, browse: Browsers) -> None:
    """The command that the demo prints works as it is, without anything else being known."""
    with Demo(state) as demo:
        browser = browse(demo)
        await browser.sign_in()
        command = re.search(r"AIOSESS_DSN=.*aiosess revoke-all", demo.banner)
        assert command
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", f"{command[0]} --yes"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "Everybody is signed out.\n"), done.stderr
        assert not await browser.is_signed_in()


def test_banner_does_not_repeat_a_dsn(demo: Demo, demo_dsn: str) -> None:
    """A DSN that was given may hold a password: the printed command takes it from where it was given."""
    assert 'AIOSESS_DSN="$DATABASE_URL" ' in demo.banner
    assert demo_dsn not in demo.banner


async def test_fast_demo_tells_how_to_see_a_theft(demo: Demo, demo_dsn: str, state: Path, browse: Browsers) -> None:
    """With --fast the home page says how to steal a session; without, it would take too long."""
    slow = browse(demo)
    await slow.sign_in()
    assert "Steal a session" not in await slow.text("/")
    with Demo(state, "--fast", dsn=demo_dsn) as fast:
        assert re.search(r"a browser that is killed .* looks like a theft\.\n", fast.banner)
        browser = browse(fast)
        await browser.sign_in()
        page = await browser.text("/")
        assert "Steal a session" in page
        assert f"-b 'session=…' {fast.address}/" in page


@pytest.mark.threat("LOG-01")
async def test_demo_logs_no_token(demo_dsn: str, state: Path, browse: Browsers) -> None:
    """What the demo prints about a malformed Cookie line does not show the token in it."""
    with Demo(state, dsn=demo_dsn) as demo:
        cookie = (await browse(demo).sign_in()).headers["Set-Cookie"].partition(";")[0]
        wire = await Wire.open(urlsplit(demo.address).port or 0)
        assert (await wire.ask(request_bytes("/", f"Cookie: {cookie}\0".encode()))).status == 400
        await wire.close()
    assert "session=[token]" in demo.errors
    assert cookie[-20:] not in demo.errors


def test_port_in_use(state: Path) -> None:
    """A port that somebody else has is told in one line, before a database starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = Demo(state, port=port)
        assert demo.wait() == 1
    [line] = demo.errors.splitlines()
    assert f"port {port} is in use" in line
    assert not _servers(state)


def test_database_that_cannot_be_reached(state: Path) -> None:
    """A DATABASE_URL where nobody answers is told in one line, without its password."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        demo = Demo(state, dsn=f"postgresql://ada:hunter2@127.0.0.1:{unused.getsockname()[1]}/demo")
        assert demo.wait() == 1
    line = demo.errors.splitlines()[-1]
    assert "PostgreSQL at 127.0.0.1 cannot be used" in line
    assert "hunter2" not in demo.errors
    assert "Traceback" not in demo.errors


async def test_tls(demo_dsn: str, state: Path, browse: Browsers) -> None:
    """With --tls the site speaks https with a certificate of its own, and the cookie is a Secure __Host- one."""
    with Demo(state, "--tls", dsn=demo_dsn) as demo:
        assert demo.address.startswith("https://localhost:")
        browser = browse(demo)
        cookie = (await browser.sign_in()).headers["Set-Cookie"]
        assert cookie.startswith("__Host-session=")
        assert "; Secure" in cookie
        assert await browser.is_signed_in()
    assert "INSECURE" not in demo.errors
    assert stat.S_IMODE((state / "localhost.pem").stat().st_mode) == 0o600


def _first_other(page: str) -> str:
    """Return where the first button that ends another session leads, on the page at /devices."""
    found = re.search(r'<a class="as-button as-danger" href="\./(devices/[0-9a-f-]{36}/end)">', page)
    assert found is not None
    return f"/{found[1]}"


def _target(response: ClientResponse) -> str:
    """Return the path to which a response redirects; the header may be relative to the page (RFC 9110, 10.2.2)."""
    return response.url.join(URL(response.headers["Location"])).path_qs


def _name(dsn: str) -> str:
    return urlsplit(dsn).path[1:]


async def _run(dsn: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement, *arguments)
    await connection.close()


async def _close_database(server_dsn: str, dsn: str) -> None:
    """Make a database refuse everybody, as a server does that is away."""
    await _run(server_dsn, f"alter database {_name(dsn)} allow_connections false")
    await _run(server_dsn, "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", _name(dsn))


def _servers(state: Path) -> list[int]:
    """Return the process ids of the database servers that keep their data there."""
    return [int(note.read_text().split()[0]) for note in state.rglob("postmaster.pid")]


def _is_running(pid: int) -> bool:
    """Say whether a process runs; one that has ended and that nobody has asked about does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
