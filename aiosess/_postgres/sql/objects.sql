-- Which tables, columns of a session, functions and triggers of aiosess are there.
select
    to_regnamespace('{schema}') is not null as has_schema,
    coalesce(to_regclass('{schema}.aiosess_sessions'), to_regclass('{schema}.aiosess_logins')) is not null as has_tables,
    to_regclass('{schema}.aiosess_schema') is not null as has_version,
    -- Versions before the first release did not have this column.
    exists (
        select from pg_attribute a
        where
            a.attrelid = to_regclass('{schema}.aiosess_schema')
            and a.attname = 'compatible_from'
            and not a.attisdropped
    ) as is_released,
    to_regclass('{schema}.aiosess_sessions') is not null
    and to_regclass('{schema}.aiosess_logins') is not null
    -- Tables of a development version may lack columns that this one reads.
    and $1::text[] <@ array(
        select a.attname::text from pg_attribute a
        where a.attrelid = to_regclass('{schema}.aiosess_sessions') and not a.attisdropped
    )
    and exists (
        select from pg_trigger t
        where
            t.tgrelid = to_regclass('{schema}.aiosess_sessions')
            and t.tgname = 'aiosess_next_revision'
            and t.tgenabled <> 'D'
    )
    and (
        select count(distinct p.proname) = 4 from pg_proc p
        where
            p.pronamespace = to_regnamespace('{schema}')
            and p.proname in (
                'aiosess_authenticate', 'aiosess_revoke_user', 'aiosess_begin_revoke_all', 'aiosess_truncate_sessions'
            )
    ) as is_whole
