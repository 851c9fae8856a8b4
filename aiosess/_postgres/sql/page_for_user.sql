-- One page of a user's live sessions, and what tally.sql tells of them: one session first, then the most recently active.
-- Only what orders them goes through the sort; the few rows of the page are read again by their primary key.
with tally as (
    select count(*) as total, max(s.created_at) as newest_at from {schema}.aiosess_sessions s
    where s.user_id = $1 and s.expires_at > now()
),
page as (
    select s.id from {schema}.aiosess_sessions s
    where s.user_id = $1 and s.expires_at > now()
    order by s.id = $4::uuid desc, s.last_active_at desc, s.id desc
    limit $2 offset $3
)
select t.total, t.newest_at, {columns}, now()
from tally t
left join (page p join {schema}.aiosess_sessions s using (id)) on true
order by s.id = $4::uuid desc, s.last_active_at desc, s.id desc
