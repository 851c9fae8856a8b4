-- End one session; only if it belongs to a user, where a user is named.
delete from {schema}.aiosess_sessions s
where s.id = $1::uuid and s.expires_at > now() and ($2::text is null or s.user_id = $2::text)
returning {columns}, now()
