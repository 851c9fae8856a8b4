-- Delete the expired ones among the next few rows. Ids are in the order of creation, so a sweep walks through the table
-- once. Returns at least one record, which says how far this got (null: at the end). The DELETE looks at expires_at once
-- more, because a session may have been prolonged while it waited for the row.
with batch as (
    select s.id, s.expires_at <= now() as is_expired from {schema}.aiosess_sessions s
    where s.id > $1::uuid
    order by s.id
    limit $2::int
),
expired as (
    delete from {schema}.aiosess_sessions s
    where s.id = any(array(select b.id from batch b where b.is_expired)) and s.expires_at <= now()
    returning {columns}
)
select (select b.id from batch b order by b.id desc limit 1) as reached, now() as read_at, {columns}
from (select 1) one left join expired s on true
