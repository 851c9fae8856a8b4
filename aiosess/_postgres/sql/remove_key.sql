-- Remove one key of the data.
update {schema}.aiosess_sessions s
set data = s.data - $2::text
where s.id = $1::uuid and s.expires_at > now()
returning {columns}, now()
