-- Which tables, columns of a session, functions and triggers of aiosess are there, and who else owns some of them.
select
    pg_catalog.to_regnamespace('{schema}') is not null as has_schema,
    coalesce(pg_catalog.to_regclass('{schema}.aiosess_sessions'), pg_catalog.to_regclass('{schema}.aiosess_logins')) is not null as has_tables,
    pg_catalog.to_regclass('{schema}.aiosess_schema') is not null as has_version,
    -- Versions before the first release did not have this column.
    exists (
        select from pg_attribute a
        where
            a.attrelid = pg_catalog.to_regclass('{schema}.aiosess_schema')::oid
            and a.attname = 'compatible_from'
            and not a.attisdropped
    ) as is_released,
    pg_catalog.to_regclass('{schema}.aiosess_sessions') is not null
    and pg_catalog.to_regclass('{schema}.aiosess_logins') is not null
    -- Tables of a development version may lack columns that this one reads.
    and $1::text::text[] operator(pg_catalog.<@) array(
        select a.attname::text from pg_attribute a
        where a.attrelid = pg_catalog.to_regclass('{schema}.aiosess_sessions')::oid and not a.attisdropped
    )
    and exists (
        select from pg_attribute a
        where
            a.attrelid = pg_catalog.to_regclass('{schema}.aiosess_schema')::oid
            and a.attname = 'audience'
            and not a.attisdropped
    )
    and exists (
        select from pg_trigger t
        where
            t.tgrelid = pg_catalog.to_regclass('{schema}.aiosess_sessions')::oid
            and t.tgname = 'aiosess_next_revision'
            and t.tgenabled <> 'D'
    )
    and (
        select pg_catalog.count(distinct p.proname) = 4 from pg_proc p
        where
            p.pronamespace = pg_catalog.to_regnamespace('{schema}')::oid
            and p.proname in (
                'aiosess_authenticate', 'aiosess_revoke_user', 'aiosess_begin_revoke_all', 'aiosess_truncate_sessions'
            )
    ) as is_whole,
    -- A role that may create objects in this schema could have put them there to run as the application, or to read what it
    -- writes. Owners are trusted who could do worse, and the owner of the tables where not everybody may create any.
    (
        select pg_catalog.min(r.rolname::text)
        from (
            select c.relowner as role from pg_class c
            where
                c.relnamespace = pg_catalog.to_regnamespace('{schema}')::oid
                and c.relname in ('aiosess_sessions', 'aiosess_logins', 'aiosess_schema')
            union
            select p.proowner from pg_proc p
            where
                p.pronamespace = pg_catalog.to_regnamespace('{schema}')::oid
                and pg_catalog.starts_with(p.proname::text, 'aiosess_')
        ) owner
        join pg_roles r on r.oid = owner.role
        join pg_roles we on we.rolname = current_user
        where
            r.oid <> we.oid
            and not r.rolsuper
            and not (pg_catalog.pg_has_role(we.oid, r.oid, 'MEMBER') and not we.rolsuper)
            and r.oid <> (select n.nspowner from pg_namespace n where n.oid = pg_catalog.to_regnamespace('{schema}')::oid)
            and r.oid <> (select d.datdba from pg_database d where d.datname = pg_catalog.current_database())
            and (
                pg_catalog.has_schema_privilege('public', pg_catalog.to_regnamespace('{schema}')::oid, 'create')
                or r.oid is distinct from (
                    select c.relowner from pg_class c
                    where c.oid = pg_catalog.to_regclass('{schema}.aiosess_sessions')::oid
                )
            )
    ) as stranger
