-- A user's live sessions, most recently active first, but no more than a number.
select {columns}, now() from {schema}.aiosess_sessions s
where s.user_id = $1::text and s.expires_at > now()
order by s.last_active_at desc, s.id desc
limit $2::int
