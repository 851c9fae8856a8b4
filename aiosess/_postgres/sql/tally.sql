-- Of these users, how many live sessions each has and when the newest began: one of the two changes whenever a session
-- begins or ends.
select s.user_id, count(*) as total, max(s.created_at) as newest_at from {schema}.aiosess_sessions s
where s.user_id = any($1::text[]) and s.expires_at > now()
group by s.user_id
