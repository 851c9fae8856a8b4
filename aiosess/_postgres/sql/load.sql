-- One live session.
select {columns}, now() from {schema}.aiosess_sessions s where s.id = $1::uuid and s.expires_at > now()
