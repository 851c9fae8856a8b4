-- One page of a user's live sessions, and what tally.sql tells of them. One session comes first (null: none), then the most
-- recently active ones. Only the columns that order them are sorted; the few rows of the page are read by primary key.
with tally as (
    select pg_catalog.count(*) as total, greatest(least(pg_catalog.max(s.created_at), '9999-12-31'), '0001-01-02') as newest_at
    from {schema}.aiosess_sessions s
    where s.user_id = $1::text and s.expires_at > now()
),
page as (
    select s.id from {schema}.aiosess_sessions s
    where s.user_id = $1::text and s.expires_at > now()
    order by s.id = $4::uuid desc, s.last_active_at desc, s.id desc
    limit $2::int offset $3::int
)
select t.total, t.newest_at::timestamptz, {columns}, now()
from tally t
left join (page p join {schema}.aiosess_sessions s on s.id = p.id) on true
order by s.id = $4::uuid desc, s.last_active_at desc, s.id desc
