"""Accounts in PostgreSQL: names, passwords as Argon2id hashes, and the thefts to report to each user."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

QUERY_TIMEOUT = 5  # seconds, waiting for a connection included
NAME = re.compile(r"[a-z0-9_-]{1,32}")
MAX_THEFTS = 5  # kept for one account
LONGEST_PASSWORD = 1024  # characters; nobody has to hash a megabyte

# Everybody knows these passwords, so the demo listens on this machine only.
SAMPLES = {"ada": "bernoulli-numbers-by-steam", "grace": "nanosecond-of-copper-wire"}


class AccountsUnavailable(Exception):
    """PostgreSQL did not answer in time."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may sign in; ``id`` is the ``user_id`` of their sessions."""

    id: str
    name: str

    @property
    def display_name(self) -> str:
        """The name in a greeting."""
        return self.name.capitalize()


class Accounts:
    """The table ``demo_accounts``."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Take the application's pool."""
        self._pool = pool
        self._hasher = PasswordHasher()
        # One hash takes 64 MiB, so only a few run at once.
        self._turn = asyncio.Semaphore(os.cpu_count() or 1)
        self._nobody = ""

    async def prepare(self) -> None:
        """Create the table and the sample accounts if they are missing."""
        self._nobody = await self._hash("nobody has this account")
        async with self._connection() as connection:
            await connection.execute(
                """
                create table if not exists demo_accounts (
                    id bigint generated always as identity primary key,
                    name text not null unique,
                    password_hash text not null
                )
                """
            )
            # The sessions that aiosess ended because two parties used them: each page reports them to the user.
            await connection.execute("alter table demo_accounts drop column if exists theft")
            await connection.execute(
                "alter table demo_accounts add column if not exists thefts jsonb not null default '[]'"
            )
            known = {record["name"] for record in await connection.fetch("select name from demo_accounts")}
        for name in SAMPLES.keys() - known:
            await self._add(name, SAMPLES[name])

    async def find(self, account_id: str) -> Account | None:
        """Return the account with an id, if there is one."""
        async with self._connection() as connection:
            name = await connection.fetchval("select name from demo_accounts where id = $1", int(account_id))
        return None if name is None else Account(account_id, name)

    async def note_theft(self, account_id: str, theft: dict[str, Any]) -> None:
        """Store a theft, newest first, until the user has read of it."""
        query = """
            update demo_accounts
            set thefts = jsonb_path_query_array(jsonb_build_array($2::text::jsonb) || thefts, $3::text::jsonpath)
            where id = $1
        """
        async with self._connection() as connection:
            await connection.execute(query, int(account_id), json.dumps(theft), f"$[0 to {MAX_THEFTS - 1}]")

    async def thefts(self, account_id: str) -> list[dict[str, Any]]:
        """Return the thefts to report, newest first."""
        query = "select thefts::text from demo_accounts where id = $1"
        async with self._connection() as connection:
            text = await connection.fetchval(query, int(account_id))
        kept: list[dict[str, Any]] = json.loads(text or "[]")
        return kept

    async def forget_thefts(self, account_id: str, until: datetime) -> None:
        """Forget the thefts that the user has read of; keep those that came while the page was open."""
        # Compared as text: all instants have the same form, in UTC.
        query = """
            update demo_accounts
            set thefts = jsonb_path_query_array(thefts, '$[*] ? (@.at > $seen)', jsonb_build_object('seen', $2::text))
            where id = $1
        """
        async with self._connection() as connection:
            await connection.execute(query, int(account_id), until.isoformat())

    async def check(self, name: str, password: str) -> Account | None:
        """
        Return the account with this name and password, or None.

        An unknown name takes the same hashing as a wrong password, so nobody can
        learn from the time which accounts exist (ASVS 5.0, 6.3.8).
        """
        if len(password) > LONGEST_PASSWORD:
            return None
        record = await self._record(name.strip().lower())
        known = self._nobody if record is None else record["password_hash"]
        if not await self._verify(known, password) or record is None:
            return None
        account = Account(str(record["id"]), record["name"])
        if self._hasher.check_needs_rehash(known):
            await self._rehash(account, known, password)
        return account

    async def _record(self, name: str) -> asyncpg.Record | None:
        # A malformed name is queried too, so it takes the same time.
        asked = name if NAME.fullmatch(name) else ""
        async with self._connection() as connection:
            return await connection.fetchrow("select id, name, password_hash from demo_accounts where name = $1", asked)

    async def _add(self, name: str, password: str) -> None:
        hashed = await self._hash(password)
        query = "insert into demo_accounts (name, password_hash) values ($1, $2) on conflict (name) do nothing"
        async with self._connection() as connection:
            await connection.execute(query, name, hashed)

    async def _rehash(self, account: Account, old: str, password: str) -> None:
        """Replace the hash by one with current parameters, unless the password changed meanwhile."""
        new = await self._hash(password)
        query = "update demo_accounts set password_hash = $1 where id = $2 and password_hash = $3"
        async with self._connection() as connection:
            await connection.execute(query, new, int(account.id), old)

    async def _hash(self, password: str) -> str:
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def _verify(self, known: str, password: str) -> bool:
        async with self._turn:
            try:
                return await asyncio.to_thread(self._hasher.verify, known, password)
            except (VerificationError, InvalidHashError):
                return False

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT), self._pool.acquire() as connection:
                yield connection
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The error's text may repeat the query's arguments, so leave it out. TimeoutError is an OSError.
            message = f"the accounts' database does not answer ({type(error).__name__})"
            raise AccountsUnavailable(message) from error


ACCOUNTS = web.AppKey("accounts", Accounts)
