"""
Change statements and functions, one place at a time: tests/postgres/test_statements.py has to notice.

mutmut changes Python only. Prints the changes that no test noticed. Usage: python -m tools.sql_mutants
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from aiosess.embedded import EmbeddedPostgres

ROOT = Path(__file__).parent.parent

# By file of aiosess/_postgres: what stands there, and what stands there instead. Types stay as they are, or PostgreSQL
# would refuse it.
CHANGES = {
    "sql/lease.sql": [
        ("    mint_until = greatest(\n        s.mint_until,\n", "    mint_until = greatest(\n"),
        ("when $4::boolean then 1\n", "when $4::boolean then 2\n"),
        ("when $4::boolean then 1\n", "when $4::boolean then power(2, s.leased_often + 1)\n"),
        ("power(2, s.leased_often + 1)", "2"),
        ("power(2, s.leased_often + 1)", "power(2, s.leased_often)"),
        ("power(2, s.leased_often + 1)", "2 * (s.leased_often + 1)"),
        ("when s.leased_for = $3::text then power", "when s.leased_for = $2::text then power"),
        ("when s.leased_for = $3::text then power", "when s.leased_for <> $3::text then power"),
        ("else 2\n", "else 1\n"),
        ("holder_until = greatest(s.holder_until, now() +", "holder_until = greatest(now() +"),
        ("then $6::interval else $5::interval", "then $6::interval else $6::interval"),
        ("then $6::interval else $5::interval", "then least($5::interval, $6::interval) else $5::interval"),
        ("when $4::boolean then $6::interval else", "when not $4::boolean then $6::interval else"),
        ("leased_to = $7::text", "leased_to = left($7::text, 0)"),
        ("leased_for = $3::text,", "leased_for = $2::text,"),
        (
            "when s.leased_for = $3::text then s.leased_often else 0",
            "when s.leased_for = $2::text then s.leased_often else 0",
        ),
        ("when s.leased_for = $3::text then s.leased_often else 0", "when true then s.leased_often else 0"),
        ("(not $4::boolean)::int", "1"),
        ("(not $4::boolean)::int", "0"),
        (" and s.expires_at > now()", ""),
        (" and s.token_id = $2::text", " and $2::text is not null"),
        (" and s.settled_at is not distinct from $8::timestamptz", " and ($8::timestamptz is null or true)"),
        ("case when $4::boolean then s.holder_until else s.mint_until end", "s.mint_until"),
        ("case when $4::boolean then s.holder_until else s.mint_until end", "s.holder_until"),
        ("'-infinity') <= now()", "'-infinity') < now()"),
    ],
    "sql/adopt.sql": [
        ("parent_id = $4::text,", "parent_id = coalesce(left($4::text, 0), s.token_id),"),
        ("parent_id = $4::text,", "parent_id = coalesce(s.parent_id, $4::text),"),
        ("promoted_at = now(),", ""),
        ("settled_at = null,", ""),
        ("is_presented = true,", ""),
        (
            "case when s.settled_at is null then s.holder else coalesce(s.promoted_by, s.holder) end",
            "coalesce(s.promoted_by, s.holder)",
        ),
        ("case when s.settled_at is null then s.holder else coalesce(s.promoted_by, s.holder) end", "s.holder"),
        ("coalesce(s.promoted_by, s.holder) end", "s.promoted_by end"),
        ("    promoted_ip = $10::text,\n", "    promoted_ip = left($10::text, 0),\n"),
        ("    promoted_user_agent = $11::text,\n", "    promoted_user_agent = left($11::text, 0),\n"),
        ("case when s.leased_to = $8::text then $8::text end", "$8::text"),
        ("case when s.leased_to = $8::text then $8::text end", "left(s.leased_to, length($8::text) + 99)"),
        (
            "case when s.leased_to = $8::text then $8::text end",
            "case when s.leased_to = $8::text then $8::text else s.promoted_by end",
        ),
        ("s.version = $2::int or to_timestamp", "s.version <> $2::int or to_timestamp"),
        ("s.version = $2::int or to_timestamp", "to_timestamp"),
        ("> now() - $9::interval", ">= now() - $9::interval"),
        ("now() - $9::interval", "now() + $9::interval"),
        ("+ 1 - $5::int", "- $5::int"),
        ("+ 1 - $5::int", "+ 2 - $5::int"),
        ("jsonb_build_array(s.token_id,", "jsonb_build_array($3::text,"),
        ("extract(epoch from now())", "extract(epoch from s.promoted_at)"),
        (" and s.expires_at > now()", ""),
        (" and s.token_id = $6::text", " and $6::text is not null"),
        (" and s.settled_at is not distinct from $7::timestamptz", " and ($7::timestamptz is null or true)"),
    ],
    "sql/rotate.sql": [
        ("secret_replaced_at = now(),", ""),
        ("promoted_at = now(),", ""),
        ("settled_at = now(),", ""),
        ("parent_id = null,", ""),
        ("mint_until = null,", ""),
        ("holder = $6::text,", "holder = coalesce(s.holder, $6::text),"),
        ("promoted_by = null,", ""),
        ("    promoted_ip = $7::text,\n", "    promoted_ip = left($7::text, 0),\n"),
        ("    promoted_user_agent = $8::text,\n", "    promoted_user_agent = left($8::text, 0),\n"),
        ("holder_until = null,", ""),
        ("leased_to = null,", ""),
        ("leased_for = null,", ""),
        ("leased_often = 0,", ""),
        ("retired = '[]'::jsonb,", ""),
        ("case when s.secret_hash = $3::bytea then s.version else s.version + 1 end", "s.version + 1"),
        (" and s.secret_hash in ($2::bytea, $3::bytea)", " and (s.secret_hash in ($2::bytea, $3::bytea) or true)"),
        (" and s.expires_at > now()", ""),
    ],
    "sql/touch.sql": [
        ("is_presented = true,", ""),
        ("s.settled_at is null and s.token_id = t.settled_id", "s.token_id = t.settled_id"),
        ("s.settled_at is null and s.token_id = t.settled_id", "s.settled_at is null and t.settled_id is not null"),
        ("greatest(s.last_active_at, t.at)", "t.at"),
        ("greatest(s.expires_at, t.at + s.idle_timeout)", "t.at + s.idle_timeout"),
        (
            "least(greatest(s.expires_at, t.at + s.idle_timeout), s.ends_at)",
            "greatest(s.expires_at, t.at + s.idle_timeout)",
        ),
        ("least(m.at, now())", "m.at"),
        (" and s.expires_at > now()", ""),
        ("then t.at else s.settled_at", "then now() else s.settled_at"),
    ],
    "sql/tell_outdated.sql": [
        (" and s.expires_at > now()", ""),
        (" and s.secret_replaced_at = $2::timestamptz", " and ($2::timestamptz is null or true)"),
    ],
    "sql/end_reused.sql": [
        (" and s.expires_at > now()", ""),
        ("s.token_id = $2::text", "$2::text is not null"),
        (" and s.settled_at is not distinct from $3::timestamptz", " and ($3::timestamptz is null or true)"),
    ],
    "sql/page_for_user.sql": [
        ("s.expires_at > now()\n)", "true\n)"),
        ("s.expires_at > now()\n    order", "true\n    order"),
    ],
    "sql/sweep.sql": [
        (" and s.expires_at <= now()\n", "\n"),
    ],
    "schema/functions.sql": [
        ("lock table {schema}.aiosess_logins in exclusive mode;", ""),
        ("(extract(epoch from clock_timestamp()) * 1000000)::bigint", "old.revision"),
        ("greatest(old.revision + 1,", "greatest(old.revision,"),
    ],
}


def is_noticed(folder: Path, environment: dict[str, str]) -> bool:
    """Tell whether a test fails."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/postgres/test_statements.py",
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode != 0


def main() -> int:
    """Try every change and return how many went unnoticed."""
    survived = 0
    with tempfile.TemporaryDirectory(prefix="aiosess") as name, EmbeddedPostgres(Path(name) / "pg") as postgres:
        folder = Path(name) / "copy"
        folder.mkdir()
        for part in ("aiosess", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        environment = os.environ | {"PYTHONPATH": str(folder), "DATABASE_URL": postgres.dsn}
        if is_noticed(folder, environment):
            sys.exit("the tests fail without any change")
        for statement, changes in CHANGES.items():
            path = folder / "aiosess" / "_postgres" / statement
            text = path.read_text(encoding="utf-8")
            for old, new in changes:
                if text.count(old) != 1:
                    sys.exit(f"{statement} does not have once: {old}")
                path.write_text(text.replace(old, new), encoding="utf-8")
                if not is_noticed(folder, environment):
                    survived += 1
                    print(f"{statement}: {old}  ->  {new}", flush=True)
            path.write_text(text, encoding="utf-8")
    print(f"{sum(map(len, CHANGES.values()))} changes of SQL, {survived} unnoticed")
    return survived


if __name__ == "__main__":
    main()
