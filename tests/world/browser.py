"""A browser that visits the application: a cookie jar, and requests that carry it."""

from typing import Any
from uuid import UUID, uuid4

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.world.errands import PENDING, Errand, Job
from tests.world.wire import COOKIE


def firefox(version: int = 143) -> str:
    """Return the User-Agent of a Firefox on Linux."""
    return f"Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"


class Browser:
    """A cookie jar and a way to ask with it."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        """Start with an empty jar."""
        self.client = client
        self.reply: ClientResponse | None = None

    @property
    def token(self) -> str | None:
        """The session cookie's value."""
        return next((cookie.value for cookie in self.client.session.cookie_jar if cookie.key == COOKIE), None)

    @token.setter
    def token(self, value: str) -> None:
        self.client.session.cookie_jar.update_cookies({COOKIE: value}, self.client.make_url("/"))

    async def get(self, path: str, **options: Any) -> ClientResponse:
        """Ask with GET."""
        return await self._finished(await self.client.get(path, allow_redirects=False, **options))

    async def post(self, path: str, **options: Any) -> ClientResponse:
        """Ask with POST."""
        return await self._finished(await self.client.post(path, allow_redirects=False, **options))

    async def login(self, user: str) -> "Browser":
        """Sign in."""
        assert (await self.post(f"/login/{user}")).status == 200
        return self

    async def run(self, job: Job) -> Any:
        """Do something with the manager inside a request; return its result or raise its error. See also reply."""
        number, errand = uuid4().hex, Errand(job)
        PENDING[number] = errand
        try:
            self.reply = await self.post(f"/errand/{number}")
        finally:
            del PENDING[number]
        if errand.error is not None:
            raise errand.error
        assert self.reply.status == 200, self.reply.status
        return errand.result

    async def user(self) -> str | None:
        """Return who the site says is asking; None for nobody."""
        response = await self.get("/me")
        assert response.status == 200, response.status
        user: str | None = (await response.json())["user"]
        return user

    async def session_id(self) -> UUID:
        """Return the id of the browser's session."""
        return UUID((await (await self.get("/me")).json())["id"])

    @staticmethod
    async def _finished(response: ClientResponse) -> ClientResponse:
        await response.read()
        return response
