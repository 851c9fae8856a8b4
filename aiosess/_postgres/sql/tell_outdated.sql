-- Take the right to tell that an old secret was presented: once for each secret that was replaced, whoever comes first.
update {schema}.aiosess_sessions s
set secret_replaced_at = null
where s.id = $1::uuid and s.expires_at > now() and s.secret_replaced_at = $2::timestamptz
returning {columns}, now()
