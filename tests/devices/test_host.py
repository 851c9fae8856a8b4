"""The devices page in applications of all kinds: their templates, languages, places, options, and how it is shipped."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import aiohttp_jinja2
import asyncpg
import jinja2
import pytest
from aiohttp import web

import aiosess
from aiosess._client.negotiation import best_language
from aiosess.devices import device_list
from aiosess.devices.geoip import GeoIPFile
from aiosess.devices.texts import ENGLISH, GERMAN, Translation, translations
from tests.world.app import make_app
from tests.world.devices import PAGE, page_site, send, signed_in, text_of
from tests.world.geoip import write_geoip
from tests.world.site import visit

ROOT = Path(__file__).parent.parent.parent
HOSTILE = "<script>alert(1)</script>"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

BERLIN = {
    "city": {"names": {"en": "Berlin", "de": "Berlin"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany", "de": "Deutschland"}},
}


def hosted(dsn: str, templates: dict[str, str], **jinja: Any) -> web.Application:
    """Return an application that uses aiohttp-jinja2, with templates of its own."""
    app = make_app(dsn)
    aiohttp_jinja2.setup(app, loader=jinja2.DictLoader(templates), **jinja)
    return app


# Templates


async def test_application_without_templates(dsn: str) -> None:
    """The page needs no aiohttp-jinja2 in the application."""
    async with page_site(dsn) as site:
        browser = await signed_in(site)
        assert aiohttp_jinja2.APP_KEY not in site.server.app
        assert "<h1" in await (await browser.get(PAGE)).text()


async def test_layout_of_the_application(dsn: str) -> None:
    """A layout of the application's own holds all pages, with its own base, filters, globals and context."""

    async def processor(_request: web.Request) -> dict[str, Any]:
        return {"greeting": "Hello <you>"}

    templates = {
        "base.html": "<body>{{ greeting|louder }}{{ motto }}{% block content %}{% endblock %}"
        "<form>{{ csrf_field(request) }}</form>",
        "aiosess/layout.html": '{% extends "base.html" %}',
    }
    app = hosted(dsn, templates, filters={"louder": str.upper}, extensions=["jinja2.ext.do"])
    app[aiohttp_jinja2.APP_KEY].globals["motto"] = "Be safe"
    app[aiohttp_jinja2.APP_CONTEXT_PROCESSORS_KEY] = (processor,)

    # aiohttp-jinja2's own middleware would write a text key on the request, about which aiohttp warns.
    @web.middleware
    async def processed(request: web.Request, handler: Any) -> web.StreamResponse:
        request._state[aiohttp_jinja2.REQUEST_CONTEXT_KEY] = await processor(request)
        response: web.StreamResponse = await handler(request)
        return response

    app.middlewares.append(processed)
    aiosess.setup_devices(app)
    async with visit(app) as site:
        browser = await signed_in(site)
        for path in ("", "/end-others", "/x/end"):
            text = await (await browser.get(PAGE + path)).text()
            assert text.startswith("<body>HELLO &lt;YOU&gt;Be safe")
            assert 'class="aiosess' in text
            assert 'name="csrf_token" value="' in text


async def test_one_block_of_a_template(dsn: str) -> None:
    """A template of the application's may extend ours of the same name and replace one block."""
    templates = {
        "aiosess/layout.html": '{% extends "!aiosess/layout.html" %}'
        "{% block footer %}<footer>ours</footer>{% endblock %}",
    }
    app = hosted(dsn, templates)
    aiosess.setup_devices(app)
    async with visit(app) as site:
        text = await (await (await signed_in(site)).get(PAGE)).text()
    assert "<footer>ours</footer>" in text
    assert "<title>Your devices</title>" in text


@pytest.mark.threat("DEV-04")
@pytest.mark.parametrize("embedded", [False, True])
async def test_escaping_does_not_depend_on_the_application(dsn: str, pg: asyncpg.Connection, embedded: bool) -> None:  # noqa: FBT001 - a parameter
    """With autoescape off, and filters and a finalizer that escape nothing, the page escapes all the same."""
    nothing = {"e": str, "escape": str, "forceescape": str}
    templates = {
        "own.html": "{% autoescape false %}{{ devices }}{% endautoescape %}",
        "aiosess/layout.html": "{% autoescape false %}{% block content %}{% endblock %}{% endautoescape %}",
    }
    app = hosted(dsn, templates, autoescape=False, finalize=lambda value: value, filters=nothing)

    async def own(request: web.Request) -> web.Response:
        return aiohttp_jinja2.render_template("own.html", request, {"devices": await device_list(request)})

    app.router.add_get("/own", own)
    aiosess.setup_devices(app)
    async with visit(app) as site:
        browser = await signed_in(site)
        await pg.execute("update aiosess_sessions set device_name = $1, ip = $1, user_agent = $1", HOSTILE)
        paths = ["/own"] if embedded else [PAGE, f"{PAGE}/list", f"{PAGE}/{await browser.session_id()}/end"]
        for path in paths:
            text = await (await browser.get(path)).text()
            assert HOSTILE not in text
            assert "&lt;script&gt;alert(1)" in text


async def test_list_in_a_page_of_the_application(dsn: str) -> None:
    """The list can be put into any page, brings its assets along, and its links lead to the page's routes."""
    app = make_app(dsn)
    sub = web.Application()

    async def account(request: web.Request) -> web.Response:
        return web.Response(text=f"<h1>Account</h1>{await device_list(request)}", content_type="text/html")

    sub.router.add_get("/", account)
    app.add_subapp("/account-of/", sub)
    aiosess.setup_devices(app)
    async with visit(app) as site:
        browser, other = await signed_in(site), await signed_in(site)
        text = await text_of(browser, "/account-of/?page=7")
        assert text.startswith("<h1>Account</h1>")
        assert f'href="{PAGE}/{await other.session_id()}/end"' in text
        assert "devices.css?v=" in text
        assert "<html" not in text
        assert (await (await site.browser()).get("/account-of/")).status == 401


async def test_list_without_the_page(dsn: str) -> None:
    """The list of an application that has no devices page is an error that names the remedy."""
    raised: list[BaseException] = []

    async def account(request: web.Request) -> web.Response:
        with pytest.raises(aiosess.NotInstalled) as error:
            await device_list(request)
        raised.append(error.value)
        return web.Response()

    async with visit(make_app(dsn, web.get("/account", account))) as site:
        await (await site.browser()).get("/account")
    assert "aiosess.setup(" in str(raised[0])


async def test_sub_application(dsn: str) -> None:
    """In a sub-application all addresses have its prefix, and the sessions may be those of the application above."""
    app, sub = make_app(dsn), web.Application()
    aiosess.setup_devices(sub, "/devices", reauthenticate="/prove")
    app.add_subapp("/me", sub)
    async with visit(app) as site:
        browser, other = await signed_in(site), await signed_in(site)
        text = await text_of(browser, "/me/devices")
        assert f'href="/me/devices/{await other.session_id()}/end"' in text
        assert 'data-events="/me/devices/events"' in text
        assert 'src="/me/devices/devices.js?v=' in text
        description = await (await browser.get("/me/devices/openapi.json")).json()
        assert "/me/devices/end-others" in description["paths"]
        assert (await text_of(browser, "/me/devices/end-others")).count("/me/devices") > 0


# Languages


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr, de;q=0.5, en;q=0.6", "en"),
        ("DE-de", "de"),
        ("de;q=0, *", "en"),
        ("", "en"),
        ("x" * 10_000, "en"),
    ],
)
def test_language(header: str, language: str) -> None:
    """The language is the one that the browser likes best, of those there are."""
    assert best_language(header, {"en": 1, "de": 1}) == language


async def test_german(dsn: str) -> None:
    """A German browser gets a German page that says so."""
    async with page_site(dsn) as site:
        browser, _ = await signed_in(site), await signed_in(site)
        response = await browser.get(PAGE, headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"})
        text = await response.text()
    assert response.headers["Content-Language"] == "de"
    assert '<html lang="de">' in text
    assert "Sie sind auf 2 Geräten angemeldet." in text
    assert "Zuletzt aktiv <time" in text


def test_german_is_whole() -> None:
    """Each English text has a German one with the same gaps."""
    assert ENGLISH.keys() == GERMAN.keys()
    for key, text in ENGLISH.items():
        assert sorted(part.split("}")[0] for part in text.split("{")[1:]) == sorted(
            part.split("}")[0] for part in GERMAN[key].split("{")[1:]
        )


async def test_texts_of_the_application(dsn: str) -> None:
    """An application replaces single texts and adds languages; what those lack is in English."""
    texts = {"en": {"title": "Sign-ins & such"}, "fr": {"title": "Vos appareils"}}
    async with page_site(dsn, texts=texts) as site:
        browser = await signed_in(site)
        english = await (await browser.get(PAGE)).text()
        french = await (await browser.get(PAGE, headers={"Accept-Language": "fr"})).text()
    assert '<h1 class="as-title">Sign-ins &amp; such</h1>' in english
    assert "Vos appareils" in french
    assert "This device" in french


@pytest.mark.parametrize(
    "texts",
    [
        {"en": {"titel": "x"}},
        {"en": {"title": 5}},
        {"en": {"title": "{x}"}},
        {"en": {"title": "{"}},
        {"en": {"months": "a b"}},
    ],
)
def test_wrong_texts(texts: Any) -> None:
    """A text that does not exist, is none, or has gaps that nothing fills is found at start-up."""
    with pytest.raises(aiosess.ConfigError, match="texts: en"):
        translations(texts)


@pytest.mark.parametrize(
    ("span", "english", "german"),
    [
        (timedelta(seconds=-5), "just now", "gerade eben"),
        (timedelta(seconds=59), "just now", "gerade eben"),
        (timedelta(seconds=60), "1 minute ago", "vor 1 Minute"),
        (timedelta(minutes=59), "59 minutes ago", "vor 59 Minuten"),
        (timedelta(hours=1), "1 hour ago", "vor 1 Stunde"),
        (timedelta(hours=23), "23 hours ago", "vor 23 Stunden"),
        (timedelta(days=1), "1 day ago", "vor 1 Tag"),
        (timedelta(days=30), "30 days ago", "vor 30 Tagen"),
        (timedelta(days=31), "on 23 October 2026", "am 23. Oktober 2026"),
    ],
)
def test_relative_times(span: timedelta, english: str, german: str) -> None:
    """Times read as people tell them."""
    assert Translation("en", ENGLISH).ago(NOW - span, NOW) == english
    assert Translation("de", GERMAN).ago(NOW - span, NOW) == german


# Places


async def test_places(dsn: str, pg: asyncpg.Connection, tmp_path: Path) -> None:
    """With a GeoIP file the list says where an address is, in the visitor's language; unknown ones have no place."""
    file = write_geoip(tmp_path / "city.mmdb", {"192.0.2.0/24": BERLIN})
    async with page_site(dsn, geoip=file) as site:
        browser = await signed_in(site)
        assert "Berlin" not in await (await browser.get(PAGE)).text()
        await pg.execute("update aiosess_sessions set ip = '192.0.2.7'")
        assert "<span>Berlin, Germany" in await (await browser.get(PAGE)).text()
        german = await browser.get(PAGE, headers={"Accept-Language": "de", "Accept": "application/json"})
        assert (await german.json())["sessions"][0]["place"] == "Berlin, Deutschland"


@pytest.mark.threat("DEV-06")
def test_place_of_anything(tmp_path: Path) -> None:
    """What is no address, is not in the file, or has odd records there has no place or a clean one; nothing raises."""
    names = {"en": "\u202eX\0" + "y" * 200}
    file = write_geoip(
        tmp_path / "x.mmdb", {"192.0.2.0/25": {"city": {"names": names}}, "192.0.2.128/25": {"country": "odd"}}
    )
    places = GeoIPFile(file)
    for address in (None, "", "x", "1.2.3.4, 5.6.7.8", "::1", "8.8.8.8", "192.0.2.200"):
        assert places.find_place(address, "en") is None
    found = places.find_place("192.0.2.1", "de")
    assert found is not None
    assert found.startswith("\ufffdX\ufffdyyy")
    assert len(found) <= 80
    places.close()


def test_country_file(tmp_path: Path) -> None:
    """A file that knows countries only gives those."""
    places = GeoIPFile(write_geoip(tmp_path / "c.mmdb", {"192.0.2.0/24": BERLIN}, "GeoLite2-Country"))
    assert places.find_place("192.0.2.7", "en") == "Germany"
    places.close()


def test_unusable_file(tmp_path: Path) -> None:
    """A file that is absent or no GeoIP file is found at start-up."""
    (tmp_path / "text").write_text("text")
    for name in ("absent", "text"):
        with pytest.raises(aiosess.ConfigError, match="geoip:"):
            aiosess.setup_devices(web.Application(), geoip=tmp_path / name)


def test_without_geoip2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a file without the package is told what to install."""
    monkeypatch.setitem(sys.modules, "geoip2.database", None)
    with pytest.raises(aiosess.ConfigError, match=r"aiosess\[geoip\]"):
        GeoIPFile(tmp_path / "any")


# Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": "devices"}, "path"),
        ({"path": "/devices/"}, "path"),
        ({"path": "/{user}/devices"}, "path"),
        ({"path": None}, "path"),
        ({"fresh_within": timedelta(0)}, "fresh_within"),
        ({"fresh_within": 900}, "fresh_within"),
        ({"reauthenticate": "//evil"}, "reauthenticate"),
        ({"reauthenticate": "https://evil/"}, "reauthenticate"),
        ({"after_logout": "/\\evil"}, "after_logout"),
        ({"after_logout": 5}, "after_logout"),
    ],
)
@pytest.mark.threat("DEV-07")
def test_wrong_options(options: dict[str, Any], named: str) -> None:
    """A wrong option is found at start-up and named."""
    with pytest.raises(aiosess.ConfigError, match=f"^{named}: "):
        aiosess.setup_devices(web.Application(), **options)


def test_twice() -> None:
    """Setting the page up twice is an error that says so."""
    app = web.Application()
    aiosess.setup_devices(app)
    with pytest.raises(aiosess.ConfigError, match="twice"):
        aiosess.setup_devices(app)


# What is shipped


def test_wheel_runs_the_page(tmp_path: Path) -> None:
    """The built wheel has the templates, the assets and the description, and finds them without the checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    templates = {f"aiosess/templates/{path.name}" for path in (ROOT / "templates" / "aiosess").iterdir()}
    static = {f"aiosess/devices/static/devices.{kind}" for kind in ("css", "js", "svg")}
    assert names >= templates | static | {"aiosess/devices/openapi.json", "aiosess/_postgres/sql/page_for_user.sql"}
    assert not [name for name in names if name.startswith(("templates/", "tests/", "demo/"))]
    code = (
        "import aiosess, jinja2; from aiosess.devices.rendering import _environment;"
        f"assert aiosess.__file__.startswith({str(tmp_path)!r});"
        "environment = _environment(None);"
        "[environment.get_template(f'aiosess/{name}.html') for name in ('devices', 'confirm', 'problem', 'list')];"
        "from aiohttp import web; aiosess.setup_devices(web.Application())"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


async def test_checkout_runs_the_page(dsn: str) -> None:
    """In a checkout, as an editable install has it, the templates are read from the top level."""
    assert not (Path(aiosess.__file__).parent / "templates").exists()
    async with page_site(dsn) as site:
        assert (await send(await signed_in(site), "end-others")).status == 303
