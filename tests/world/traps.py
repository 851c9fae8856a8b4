"""
Traps of another role: functions and operators that fit a call better than PostgreSQL's own, in a schema on the path.

PostgreSQL calls its own when their types are exactly those of the call. Otherwise it calls the best match on the whole
search path, with the rights of the caller.
"""

import re
from importlib import resources
from typing import Final

import asyncpg

_COMMENT: Final = re.compile(r"--[^\n]*")
_TEXT: Final = re.compile(r"'[^']*'")
_CALLED: Final = re.compile(r"(?<![\w.])(?:pg_catalog\.)?([a-z_][a-z_0-9]*)\(")
_OPERATOR: Final = re.compile(r"[-+*/<>=~!@#%^&|?]+")

# What values the statements have. A trap returns what its left side is, or a boolean where PostgreSQL's operators do.
_SET: Final = """
do $do$
declare
    types text[] := '{
        uuid, text, varchar, name, bytea, boolean, jsonb, smallint, int, bigint, numeric, double precision,
        timestamptz, timestamp, date, interval, oid, regclass, regnamespace, "char",
        text[], uuid[], timestamptz[], boolean[], bigint[]
    }';
    body text := $$language plpgsql as 'begin raise exception $m$a trap was sprung$m$; end'$$;
    a text; b text; f text;
begin
    perform set_config('search_path', 'pg_catalog', true); -- this SQL would spring them itself
    foreach a in array types loop
        foreach f in array {functions}::text[] loop
            execute format('create function {schema}.%I(%s) returns %s %s', f, a, a, body);
        end loop;
        foreach b in array types loop
            execute format('create function {schema}.trap_boolean(%s, %s) returns boolean %s', a, b, body);
            execute format('create function {schema}.trap_left(%s, %s) returns %s %s', a, b, a, body);
            foreach f in array {functions}::text[] loop
                execute format('create function {schema}.%I(%s, %s) returns %s %s', f, a, b, a, body);
            end loop;
            for f in select unnest({operators}::text[]) loop
                execute format(
                    'create operator {schema}.%s (leftarg = %s, rightarg = %s, function = {schema}.%s)', f, a, b,
                    case when f in (select oprname from pg_operator where oprresult = 'boolean'::regtype)
                    then 'trap_boolean' else 'trap_left' end
                );
            end loop;
        end loop;
    end loop;
end
$do$
"""


async def set_traps(connection: asyncpg.Connection, schema: str = "public") -> None:
    """Set traps for all functions and operators that our SQL names, for every pair of types."""
    text = _our_sql()
    functions = await _known(connection, "select proname from pg_proc", set(_CALLED.findall(text)))
    operators = await _known(connection, "select oprname from pg_operator", set(_OPERATOR.findall(text)))
    assert {"now", "power", "jsonb_agg", "jsonb_build_object"} <= set(functions), functions
    assert {"=", "||", "->>", "*", "<="} <= set(operators), operators
    await connection.execute(
        _SET.replace("{schema}", f'"{schema}"')
        .replace("{functions}", _array(functions))
        .replace("{operators}", _array(operators))
    )


def _our_sql() -> str:
    """Return all SQL of the package, without comments and texts."""
    room = resources.files("aiosess._postgres")
    files = [file for folder in ("sql", "schema") for file in room.joinpath(folder).iterdir()]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.name.endswith(".sql"))
    return _TEXT.sub("", _COMMENT.sub("", text))


async def _known(connection: asyncpg.Connection, names: str, wanted: set[str]) -> list[str]:
    """Return those of some names that PostgreSQL knows."""
    return sorted(wanted & {name for (name,) in await connection.fetch(names)})


def _array(names: list[str]) -> str:
    return "array[" + ", ".join(f"'{name}'" for name in names) + "]"
