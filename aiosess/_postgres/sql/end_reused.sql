-- End a session that two parties use, if its row is still as it was judged. Also tells where its current token was first
-- presented from.
delete from {schema}.aiosess_sessions s
where
    s.id = $1::uuid and s.expires_at > now()
    and s.token_id = $2::text and s.settled_at is not distinct from $3::timestamptz
returning {columns}, s.promoted_ip::text, s.promoted_user_agent::text, now()
