-- Note that another kind of browser uses the session now.
update {schema}.aiosess_sessions s
set fingerprint = $3
where s.id = $1 and s.expires_at > now() and s.fingerprint = $2
returning {columns}, now()
