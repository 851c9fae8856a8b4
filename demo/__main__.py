"""``python -m demo``: start a database and the demo's site, and stop both with Ctrl-C."""

import argparse
import asyncio
import errno
import logging
import os
import shlex
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from aiohttp import web

import aiosess
from aiosess.embedded import EmbeddedPostgres
from demo.accounts import SAMPLES, AccountsUnavailable
from demo.app import make_app
from demo.state import load_secret, load_tls

HOST = "127.0.0.1"  # this machine only: everybody knows the passwords
LAST_PORT = 65535
STOP_WITHIN = 3.0  # seconds, for running requests
FAST_WARNING = (
    "  Tokens are replaced every 30 s: a browser that is killed may come back with an older one, "
    "which looks like a theft."
)
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CannotStart(Exception):
    """The demo cannot start; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until it is stopped; return the exit code."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(aiosess.RedactTokens())  # aiohttp's error about a malformed request repeats its cookies
    for number in STOPPING_SIGNALS:
        # Raise KeyboardInterrupt until the site has its own handlers; on the way out, the database is stopped.
        signal.signal(number, signal.default_int_handler)
    try:
        secret, tls = _open(options)
        with _bound_socket(options.port) as listener, _database(options.state) as dsn:
            app = make_app(dsn, secret=secret, insecure_cookies=tls is None, fast=options.fast)
            asyncio.run(_serve(app, listener, dsn, tls, fast=options.fast))
            for number in STOPPING_SIGNALS:  # a second Ctrl-C must not leave the database running
                signal.signal(number, signal.SIG_IGN)
    except (CannotStart, aiosess.ConfigError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description="The demo of aiosess, on this machine only.")
    parser.add_argument("--port", type=_port, default=8080, help="where to listen; 0 takes a free one (default: 8080)")
    parser.add_argument("--tls", action="store_true", help="serve https, with a certificate made for it")
    parser.add_argument("--fast", action="store_true", help="replace tokens every 30 s, to see how a theft is found")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".demo"),
        metavar="DIR",
        help="where the database, the secret and the certificate are kept (default: .demo)",
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > LAST_PORT:
        message = f"a port is a number from 0 to {LAST_PORT}, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _open(options: argparse.Namespace) -> tuple[str, ssl.SSLContext | None]:
    """Return the secret, and the TLS context if asked for; the first start creates both."""
    try:
        options.state.mkdir(parents=True, exist_ok=True)
        return load_secret(options.state), load_tls(options.state) if options.tls else None
    except (OSError, ValueError) as error:
        message = f"{options.state} cannot be used: {error}"
        raise CannotStart(message) from error


@contextmanager
def _bound_socket(port: int) -> Iterator[socket.socket]:
    """Bind the port before the database starts, so that the error for a port in use comes at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(128)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            message = f"port {port} {reason}; choose another one with PORT={port + 1} or --port {port + 1}"
            raise CannotStart(message) from error
        yield listener


@contextmanager
def _database(state: Path) -> Iterator[str]:
    """Give the DSN in DATABASE_URL, or start a server that runs as long as the site."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    try:
        server = EmbeddedPostgres(state / "postgres")
    except RuntimeError as error:
        message = "\n".join([str(error), *getattr(error, "__notes__", ())])  # the notes quote the server's log
        raise CannotStart(message) from error
    with server:
        yield server.dsn


async def _serve(
    app: web.Application, listener: socket.socket, dsn: str, tls: ssl.SSLContext | None, *, fast: bool
) -> None:
    stop = asyncio.Event()
    for number in STOPPING_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_WITHIN)
    try:
        await _start(runner, dsn)
        await web.SockSite(runner, listener, ssl_context=tls).start()
        _announce(listener.getsockname()[1], dsn, tls, fast=fast)
        await stop.wait()
    finally:
        await runner.cleanup()


async def _start(runner: web.AppRunner, dsn: str) -> None:
    try:
        await runner.setup()
    except (
        OSError,
        ValueError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        AccountsUnavailable,
        aiosess.SessionError,
    ) as error:
        # Name the host only: the DSN may hold a password.
        host = urlsplit(dsn).hostname or "this machine"
        message = f"PostgreSQL at {host} cannot be used: {error}"
        raise CannotStart(message) from error


def _announce(port: int, dsn: str, tls: ssl.SSLContext | None, *, fast: bool) -> None:
    """Print the address of the site and the sample accounts."""
    scheme = "http" if tls is None else "https"
    lines = [
        "",
        f"  aiosess demo   {scheme}://localhost:{port}",
        "",
        "  Sign in as     password",
        *(f"  {name:<15}{password}" for name, password in SAMPLES.items()),
        "",
        '  Sign in with two browsers, then end one session from the other on the page "Devices".',
        *(["  Your browser will warn once: the certificate was made on this machine."] if tls else []),
        *([FAST_WARNING] if fast else []),
        "  To sign everybody out, in another terminal:",
        f"    {_revoke_all(dsn)}",
        "  Ctrl-C stops it; accounts and sessions stay for the next time.",
        "",
    ]
    print("\n".join(lines), flush=True)


def _revoke_all(dsn: str) -> str:
    """Return the shell command; it does not repeat DATABASE_URL, which may hold a password."""
    program = Path(sys.executable).with_name("aiosess")
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    known = '"$DATABASE_URL"' if os.environ.get("DATABASE_URL") else shlex.quote(dsn)
    return f"AIOSESS_DSN={known} {shlex.quote(str(program))} revoke-all"


if __name__ == "__main__":
    sys.exit(main())
