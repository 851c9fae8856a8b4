-- Of these (id, revision) pairs, return those that differ from what the caller holds, and nothing for the rest. A standby,
-- whose rows may be old, returns all of them and says so. The lateral join with "offset 0" makes PostgreSQL look up each id
-- by the primary key, whatever it thinks of the table's size. Its list has no casts, for they would be computed for rows that
-- are not returned, too. The arrays come as text because asyncpg looks at each element of an array several times.
select
    (select pg_catalog.pg_is_in_recovery()) as is_standby, held.id as asked, s.expires_at > now() as is_live, {columns}, now()
from unnest($1::text::uuid[], $2::text::bigint[]) held (id, revision)
left join lateral (
    select {column_names} from {schema}.aiosess_sessions s where s.id = held.id offset 0
) s on true
where s.revision is distinct from held.revision or s.expires_at <= now() or (select pg_catalog.pg_is_in_recovery())
