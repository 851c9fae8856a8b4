-- How many live sessions each of these users has, and when the newest one began: at least one of the two changes whenever a
-- session begins or ends. asyncpg reads no instant outside of Python's years.
select
    s.user_id::text, pg_catalog.count(*) as total,
    greatest(least(pg_catalog.max(s.created_at), '9999-12-31'), '0001-01-02')::timestamptz as newest_at
from {schema}.aiosess_sessions s
where s.user_id = any(array(select pg_catalog.jsonb_array_elements_text($1::text::jsonb))) and s.expires_at > now()
group by s.user_id
