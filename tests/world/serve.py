"""
A server process of its own for tests: ``python -m tests.world.serve DSN [OPTIONS]``.

Serves the application of ``tests.world.app`` on a free port of 127.0.0.1 and prints the port. OPTIONS is a JSON object
of options for ``setup()`` that JSON can spell; timeouts are seconds.
"""

import asyncio
import json
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from aiohttp import web

from tests.world.app import make_app


@asynccontextmanager
async def served(dsn: str, *, module: str = "tests.world.serve", **options: Any) -> AsyncIterator[tuple[Process, int]]:
    """Run a server process for a while; return it and its port."""
    command = (sys.executable, "-m", module, dsn, json.dumps(options))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        assert line.strip().isdigit(), f"{module} printed {line!r} instead of its port"
        yield process, int(line)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def serve(app: web.Application) -> None:
    """Serve an application on a free port and print the port; until SIGTERM."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:

        async def tell(_app: web.Application) -> None:
            print(listener.getsockname()[1], flush=True)  # noqa: T201 - how the test learns of it

        app.on_startup.append(tell)
        web.run_app(app, sock=listener, print=None)


def main() -> None:
    """Serve until SIGTERM."""
    dsn, *rest = sys.argv[1:]
    options = json.loads(rest[0]) if rest else {}
    options |= {name: timedelta(seconds=options[name]) for name in options if name.endswith("_timeout")}
    serve(make_app(dsn, **options))


if __name__ == "__main__":
    main()
