-- How many sessions are live.
select count(*) from {schema}.aiosess_sessions s where s.expires_at > now()
