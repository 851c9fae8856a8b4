-- End one session; of one user only, if a user is named.
delete from {schema}.aiosess_sessions s
where s.id = $1 and s.expires_at > now() and ($2::text is null or s.user_id = $2)
returning {columns}, now()
