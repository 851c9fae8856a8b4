-- Note that another kind of browser uses the session now.
update {schema}.aiosess_sessions s
set fingerprint = $3::text
where s.id = $1::uuid and s.expires_at > now() and s.fingerprint = $2::text
returning {columns}, now()
