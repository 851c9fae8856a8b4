-- How many sessions are live.
select pg_catalog.count(*) from {schema}.aiosess_sessions s where s.expires_at > now()
