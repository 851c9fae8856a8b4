"""
A server process of its own for tests: ``python -m tests.serve DSN [OPTIONS]``.

Serves the site of ``tests.site`` on a free port of 127.0.0.1 and prints the port. OPTIONS is a JSON object of options
for ``setup()``; spans in seconds.
"""

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any

from aiohttp import web

from tests.site import make_app


def main() -> None:
    """Serve until SIGTERM."""
    dsn, *rest = sys.argv[1:]
    options: dict[str, Any] = json.loads(rest[0]) if rest else {}
    spans = {name: timedelta(seconds=value) for name, value in options.items() if name.endswith(("timeout", "every"))}
    asyncio.run(serve(make_app(dsn, **options | spans)))


async def serve(app: web.Application) -> None:
    """Print the port once requests are answered on it."""
    runner = web.AppRunner(app, handle_signals=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - how the test learns of it
    try:
        await asyncio.Event().wait()
    except (web.GracefulExit, asyncio.CancelledError):
        await runner.cleanup()


if __name__ == "__main__":
    main()
