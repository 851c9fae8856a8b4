"""The program ``aiosess``: it ends all sessions without the application."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final
from urllib.parse import parse_qs, urlsplit

from aiosess.config import SessionConfig
from aiosess.errors import SessionError
from aiosess.store import open_store

__all__ = ("main",)

DSN_VARIABLES: Final = ("AIOSESS_DSN", "DATABASE_URL")
INTERRUPTED: Final = 130  # 128 + SIGINT, the exit code that shells use


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; on failure, print the reason to stderr and exit with 1 (130 after Ctrl-C)."""
    options = _parser().parse_args(arguments)
    if not options.dsn:
        sys.exit(f"aiosess: give --dsn, or set {' or '.join(DSN_VARIABLES)}")
    logging.getLogger("aiosess").setLevel(logging.CRITICAL)  # the error is printed once, below
    outcome = "nothing was done"
    try:
        config = SessionConfig(schema=options.schema)
        # Ask outside of the event loop: inside, Ctrl-C would not interrupt input().
        if not options.yes and not _confirm(asyncio.run(_question(options.dsn, config))):
            sys.exit("aiosess: nothing was done")
        outcome = "interrupted: sessions may or may not have ended"
        asyncio.run(_revoke_all(options.dsn, config))
    except KeyboardInterrupt:
        print(f"\naiosess: {outcome}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (SessionError, ValueError) as error:
        sys.exit(f"aiosess: {error}")
    print("Everybody is signed out.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aiosess", description="Login sessions in PostgreSQL.")
    parser.add_argument("--version", action="version", version=f"aiosess {version('aiosess')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    revoke_all = commands.add_parser(
        "revoke-all",
        help="sign everybody out, at once and everywhere",
        description="Sign everybody out, at once and everywhere, after asking.",
        epilog="example: AIOSESS_DSN=postgresql://app@db.example/shop aiosess revoke-all",
    )
    # Every user of the machine can read a password on a command line, so variables hold the DSN.
    known = next(filter(None, map(os.environ.get, DSN_VARIABLES)), None)
    revoke_all.add_argument("--dsn", default=known, help=f"default: ${', else $'.join(DSN_VARIABLES)}")
    revoke_all.add_argument("--schema", default="public", help="of the tables (default: %(default)s)")
    revoke_all.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _confirm(question: str) -> bool:
    try:
        return input(question) == "yes"
    except EOFError:
        return False


async def _question(dsn: str, config: SessionConfig) -> str:
    async with open_store(dsn, config) as store:
        count, name = await store.count(), await store.database_name()
    sessions = "the only session" if count == 1 else f"all {count:,} sessions"
    return f"Sign out {sessions} in {name} at {_host(dsn)}? Type yes: "


async def _revoke_all(dsn: str, config: SessionConfig) -> None:
    async with open_store(dsn, config) as store:
        await store.revoke_all()


def _host(dsn: str) -> str:
    """Return the host of a DSN, without its user and password."""
    parts = urlsplit(dsn)
    host = parse_qs(parts.query).get("host", [os.environ.get("PGHOST", "this machine")])
    return parts.netloc.rpartition("@")[2] or host[0]
