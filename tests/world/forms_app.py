"""
An application with forms of its own and a page that polls, and a foreign site with a form.

``python -m tests.world.forms_app DSN OPTIONS`` serves it as ``tests.world.serve`` serves the usual one.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape

from aiohttp import web
from aiohttp.test_utils import TestServer

import aiosess
from tests.world.app import make_app
from tests.world.serve import serve

# What the page asks every 50 ms, and how it was answered; an answer that is not "ada" is a sign-out.
POLLING = """
window.answers = [];
setInterval(async () => {
  const response = await fetch("/me");
  answers.push(response.ok ? String((await response.json()).user) : `status ${response.status}`);
}, 50);
"""

routes = web.RouteTableDef()


def page(body: str) -> web.Response:
    """Return a page."""
    return web.Response(text=f"<!doctype html><title>Forms</title>{body}", content_type="text/html")


def form(request: web.Request, action: str, content: str = "") -> str:
    """Return a form with its token and a button that has the action's name."""
    field = aiosess.csrf_field(request)
    return (
        f'<form method="post" action="/forms/{action}">{field}{content}<button id="{action}">{action}</button></form>'
    )


@routes.get("/forms")
async def forms(request: web.Request) -> web.Response:
    """Show who is signed in, and the forms."""
    user = request["sessions"].user_id or "nobody"
    if user == "nobody":
        return page(f"<h1>{user}</h1>" + form(request, "sign-in", '<input name="user">'))
    without = '<form method="post" action="/forms/act"><button id="without">without a token</button></form>'
    return page(f"<h1>{escape(user)}</h1>{form(request, 'act')}{form(request, 'sign-out')}{without}")


@routes.get("/polling")
async def polling(_request: web.Request) -> web.Response:
    """Show a page that asks again and again who is signed in."""
    return page(f"<script>{POLLING}</script>")


@routes.post("/forms/sign-in")
@aiosess.csrf_protected(sign_in=True)
async def sign_in(request: web.Request) -> web.Response:
    """Sign in who is named."""
    await request["sessions"].authenticate(str((await request.post())["user"]))
    raise web.HTTPSeeOther(request.path.rpartition("/")[0])


@routes.post("/forms/act")
@aiosess.csrf_protected
async def act(request: web.Request) -> web.Response:
    """Do what a forger would like."""
    return page(f"<h1>done by {escape(str(request['sessions'].user_id))}</h1>")


@routes.post("/forms/sign-out")
@aiosess.csrf_protected
async def sign_out(request: web.Request) -> web.Response:
    """Sign out."""
    await request["sessions"].logout()
    raise web.HTTPSeeOther(request.path.rpartition("/")[0])


@asynccontextmanager
async def foreign_site(action: str, token: str) -> AsyncIterator[int]:
    """
    Run a site on a port of its own with a form that goes to ours and, at /link, a link to our forms; return the port.

    It has even learnt the token.
    """
    hidden = f'<input type="hidden" name="csrf_token" value="{token}"><input type="hidden" name="user" value="mallory">'

    async def trap(_request: web.Request) -> web.Response:
        return page(f'<form method="post" action="{action}">{hidden}<button id="trap">Win a prize</button></form>')

    async def link(_request: web.Request) -> web.Response:
        return page(f'<a id="link" href="{action.rpartition("/")[0]}">Our forms</a>')

    app = web.Application()
    app.router.add_get("/", trap)
    app.router.add_get("/link", link)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


if __name__ == "__main__":
    serve(make_app(sys.argv[1], *routes, **json.loads(sys.argv[2])))
