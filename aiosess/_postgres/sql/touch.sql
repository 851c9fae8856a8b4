-- Write first presentations, last activity and settled marks of many sessions. A row that another statement is changing is
-- left out: a lost mark is harmless, but two statements that wait for each other are not.
with free as (
    select s.id from {schema}.aiosess_sessions s
    where s.id = any($1::text::uuid[]) and s.expires_at > now()
    order by s.id
    for no key update skip locked
)
update {schema}.aiosess_sessions s
set
    is_presented = true,
    -- A mark of a request that is no activity leaves the times alone.
    last_active_at = case when t.is_activity then greatest(s.last_active_at, t.at) else s.last_active_at end,
    expires_at = case
        when t.is_activity then least(greatest(s.expires_at, t.at + s.idle_timeout), s.ends_at)
        else s.expires_at
    end,
    settled_at = case when s.settled_at is null and s.token_id = t.settled_id then t.at else s.settled_at end
from (
    -- A process whose clock is ahead prolongs no session.
    select m.id, least(m.at, now()) as at, m.is_activity, m.settled_id
    from unnest($1::text::uuid[], $2::text::timestamptz[], $3::text::boolean[], $4::text::text[]) m (id, at, is_activity, settled_id)
) t
join free f on f.id = t.id
where s.id = t.id
