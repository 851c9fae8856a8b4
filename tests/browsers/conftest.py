"""The browsers of a test: all of one engine, each with a profile of its own, and gone with the test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.world.app import make_app
from tests.world.browsers.engines import USUAL
from tests.world.browsers.real import RealBrowser, Start
from tests.world.browsers.steps import sign_in
from tests.world.forms_app import routes
from tests.world.site import Site, visit


@pytest.fixture(params=USUAL)
def engine(request: pytest.FixtureRequest) -> type[RealBrowser]:
    """Return the engine that the test runs in; a test may be parametrised with EACH instead."""
    chosen: type[RealBrowser] = request.param
    return chosen


@pytest.fixture
async def start(engine: type[RealBrowser]) -> AsyncIterator[Start]:
    """Return what starts a browser; its options are those of the engine."""
    async with AsyncExitStack() as stack:
        yield lambda **options: stack.enter_async_context(engine.started(**options))


@pytest.fixture
async def site(dsn: str, engine: type[RealBrowser]) -> AsyncIterator[Site]:
    """Run an application with forms and the devices page, as http://localhost needs it for the engine."""
    async with visit(make_app(dsn, *routes, page={}, insecure_cookies=engine.drops_secure_cookies)) as site:
        yield site


@pytest.fixture
def origin(site: Site) -> str:
    """Return where the application is."""
    return f"http://localhost:{site.port}"


@pytest.fixture
async def browser(start: Start, origin: str) -> RealBrowser:
    """Return a browser that ada is signed in with."""
    browser = await start()
    await sign_in(browser, origin)
    return browser
