"""The state of the tables in the database, and whether this library can use them."""

from dataclasses import dataclass

from aiosess._postgres.columns import column_names
from aiosess._postgres.connections import Connection
from aiosess._postgres.schema.scripts import VERSION
from aiosess._postgres.sql_files import read_sql
from aiosess._postgres.statements import array_text


@dataclass(frozen=True, slots=True)
class State:
    """
    What there is of aiosess in a schema.

    Attributes:
        has_schema: The PostgreSQL schema is there.
        has_tables: At least one of the tables that hold sessions and logins is there.
        is_released: The table of the version is that of a released library.
        is_whole: All tables that hold sessions and logins, the columns of a session, the functions and the trigger
            are there.
        version: The version of the tables, if they have one.
        compatible_from: A library made for this version of the tables, or for a later one, may use them.
        stranger: A role that owns some of it, and has no business here.

    """

    has_schema: bool
    has_tables: bool
    is_released: bool
    is_whole: bool
    version: int | None
    compatible_from: int
    stranger: str | None

    @property
    def can_be_migrated(self) -> bool:
        """Whether there is nothing yet, or tables of an older version."""
        if self.stranger is not None:
            return False
        return not self.has_tables if self.version is None else self.version < VERSION


async def look(connection: Connection, schema: str) -> State:
    """Find out what is in a schema."""
    (objects,) = await connection.fetch(read_sql("sql/objects.sql", schema), array_text(column_names()))
    versions = await connection.fetchrow(read_sql("sql/version.sql", schema)) if objects["is_released"] else None
    version, compatible_from = versions or (None, 0)
    return State(
        has_schema=objects["has_schema"],
        has_tables=objects["has_tables"],
        is_released=objects["is_released"] or not objects["has_version"],
        is_whole=objects["is_whole"],
        version=version,
        compatible_from=compatible_from,
        stranger=objects["stranger"],
    )


def problem_of(state: State, schema: str) -> str | None:
    """Say why this library cannot use what there is and what to do, or None if it can."""
    if state.stranger is None:
        return _misfit(state, schema)
    return (
        f"tables or functions in the schema {schema!r} whose names begin with aiosess_ belong to the role "
        f"{state.stranger!r}, who could read the sessions or act as the application: drop them or give them to the "
        "owner of the schema, and let nobody else create objects there (best is a schema of its own: schema=…)"
    )


def _misfit(state: State, schema: str) -> str | None:
    """Say what is absent, incomplete, too old or too new."""
    if not state.is_released:
        return (
            f"the aiosess tables in the schema {schema!r} were made before the first release and cannot be upgraded: "
            "drop all tables and functions whose names begin with aiosess_, and start again (users sign in again)"
        )
    if state.version is None and not state.has_tables:
        return f"the schema {schema!r} holds no aiosess tables: run aiosess.schema_sql() or set migrate=True"
    # Before the question of what is missing: a newer version may have dropped a function that this library calls.
    if state.compatible_from > VERSION:
        return (
            f"the tables are of version {state.version}, newer than this aiosess can use ({VERSION}; "
            f"they need {state.compatible_from} or later): update the library"
        )
    if state.version is None or (state.version >= VERSION and not state.is_whole):
        return f"the aiosess tables in the schema {schema!r} are incomplete: restore them or drop them all"
    if state.version < VERSION:
        return (
            f"the tables are of version {state.version}, older than this aiosess ({VERSION}): "
            f"run aiosess.schema_sql(since={state.version}) or set migrate=True"
        )
    return None
