-- Whether the tables, the trigger and the functions are there.
select
    to_regclass('{schema}.aiosess_schema') is not null as has_version,
    to_regclass('{schema}.aiosess_sessions') is not null
    and to_regclass('{schema}.aiosess_logins') is not null
    and exists (
        select from pg_trigger t
        where
            t.tgrelid = to_regclass('{schema}.aiosess_sessions')
            and t.tgname = 'aiosess_next_revision'
            and t.tgenabled <> 'D'
    )
    and (
        select count(*) = 4 from pg_proc p
        where
            p.pronamespace = to_regnamespace('{schema}')
            and p.proname in (
                'aiosess_authenticate', 'aiosess_revoke_user', 'aiosess_begin_revoke_all', 'aiosess_truncate_sessions'
            )
    ) as is_whole,
    coalesce(to_regclass('{schema}.aiosess_sessions'), to_regclass('{schema}.aiosess_logins')) is not null as has_tables,
    to_regnamespace('{schema}') is not null as has_schema
