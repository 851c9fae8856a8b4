-- Which tables, columns of a session, functions and triggers of aiosess are there, and who else owns some of them.
with here as (
    select
        pg_catalog.to_regnamespace('{schema}')::oid as schema,
        pg_catalog.to_regclass('{schema}.aiosess_sessions')::oid as sessions,
        pg_catalog.to_regclass('{schema}.aiosess_logins')::oid as logins,
        pg_catalog.to_regclass('{schema}.aiosess_schema')::oid as version
),
owners as (
    select c.relowner as role
    from here h join pg_class c on c.oid in (h.sessions, h.logins, h.version)
    union
    select p.proowner
    from here h join pg_proc p on p.pronamespace = h.schema
    where pg_catalog.starts_with(p.proname::text, 'aiosess_')
)
select
    h.schema is not null as has_schema,
    coalesce(h.sessions, h.logins) is not null as has_tables,
    h.version is not null as has_version,
    -- Versions before the first release did not have this column.
    exists (
        select from pg_attribute a
        where a.attrelid = h.version and a.attname = 'compatible_from' and not a.attisdropped
    ) as is_released,
    h.sessions is not null
    and h.logins is not null
    -- Tables of a development version may lack columns that this one reads.
    and $1::text::text[] operator(pg_catalog.<@) array(
        select a.attname::text from pg_attribute a where a.attrelid = h.sessions and not a.attisdropped
    )
    and exists (
        select from pg_attribute a where a.attrelid = h.version and a.attname = 'audience' and not a.attisdropped
    )
    and exists (
        select from pg_trigger t
        where t.tgrelid = h.sessions and t.tgname = 'aiosess_next_revision' and t.tgenabled <> 'D'
    )
    and (
        select pg_catalog.count(distinct p.proname) = 4 from pg_proc p
        where
            p.pronamespace = h.schema
            and p.proname in (
                'aiosess_authenticate', 'aiosess_revoke_user', 'aiosess_begin_revoke_all', 'aiosess_truncate_sessions'
            )
    ) as is_whole,
    -- A role that may create objects in this schema could have put them there, to run as the application or to read what it
    -- writes. A role that could do worse is trusted. So is the owner of the tables, unless everybody may create tables here.
    (
        select pg_catalog.min(r.rolname::text)
        from owners o
        join pg_roles r on r.oid = o.role
        join pg_roles we on we.rolname = current_user
        where
            r.oid <> we.oid
            and not r.rolsuper
            and not (pg_catalog.pg_has_role(we.oid, r.oid, 'MEMBER') and not we.rolsuper)
            and r.oid <> (select n.nspowner from pg_namespace n where n.oid = h.schema)
            and r.oid <> (select d.datdba from pg_database d where d.datname = pg_catalog.current_database())
            and (
                pg_catalog.has_schema_privilege('public', h.schema, 'create')
                or r.oid is distinct from (select c.relowner from pg_class c where c.oid = h.sessions)
            )
    ) as stranger
from here h
