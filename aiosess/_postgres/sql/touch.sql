-- Write last activity, settled marks and first presentations of many sessions. A session without an instant was presented,
-- and neither its last activity nor its end moves. A row that another statement is changing is left out: a lost mark
-- is harmless, but two statements that wait for each other are not.
with free as (
    select s.id from {schema}.aiosess_sessions s
    where s.id = any($1::uuid[]) and s.expires_at > now()
    order by s.id
    for no key update skip locked
)
update {schema}.aiosess_sessions s
set
    is_presented = true,
    last_active_at = greatest(s.last_active_at, t.active_at),
    expires_at = least(greatest(s.expires_at, t.active_at + s.idle_timeout), s.ends_at),
    settled_at = case when s.settled_at is null and s.token_id = t.settled_id then t.active_at else s.settled_at end
from (
    -- A process whose clock is ahead prolongs no session.
    select m.id, case when m.active_at is not null then least(m.active_at, now()) end as active_at, m.settled_id
    from unnest($1::uuid[], $2::timestamptz[], $3::text[]) m (id, active_at, settled_id)
) t
join free f on f.id = t.id
where s.id = t.id
