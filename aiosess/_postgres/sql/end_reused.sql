-- End a session that two parties use, if it still is as it was judged. Tells where its current token was promoted from, too.
delete from {schema}.aiosess_sessions s
where s.id = $1 and s.expires_at > now() and s.token_id = $2 and s.settled_at is not distinct from $3
returning {columns}, s.promoted_ip, s.promoted_user_agent, now()
