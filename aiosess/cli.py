"""``aiosess``: what an operator does to all sessions at once, without the application."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from aiosess import schema
from aiosess.config import SessionConfig
from aiosess.database import Database
from aiosess.errors import ConfigError, SessionError
from aiosess.store import SessionStore

DSN_VARIABLE = "AIOSESS_DSN"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with 1 when it could not be done, and says why on stderr."""
    options = _parser().parse_args(arguments)
    if not options.dsn:
        sys.exit(f"aiosess: give --dsn, or set {DSN_VARIABLE}")
    if not options.yes and not _agrees():
        sys.exit("aiosess: nothing was done")
    logging.getLogger("aiosess").setLevel(logging.CRITICAL)  # what goes wrong is said once, below
    try:
        asyncio.run(_revoke_all(options.dsn, SessionConfig(schema=options.schema)))
    except (ConfigError, SessionError) as error:
        sys.exit(f"aiosess: {error}")
    print("Everybody is signed out.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aiosess", description="Login sessions in PostgreSQL.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    revoke_all = commands.add_parser("revoke-all", help="sign everybody out, at once and everywhere")
    # A password on the command line is seen by everybody on the machine.
    revoke_all.add_argument("--dsn", default=os.environ.get(DSN_VARIABLE), help=f"default: ${DSN_VARIABLE}")
    revoke_all.add_argument("--schema", default="public", help="of the tables (default: %(default)s)")
    revoke_all.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _agrees() -> bool:
    try:
        return input("Sign out every user on every device? Type yes: ") == "yes"
    except EOFError:
        return False


async def _revoke_all(dsn: str, config: SessionConfig) -> None:
    database = Database(config)
    try:
        await database.connect(dsn)
        await schema.prepare(database, config.schema, migrate=False)
        await SessionStore(database, config, lambda _event: None).revoke_all()
    finally:
        await database.close()
