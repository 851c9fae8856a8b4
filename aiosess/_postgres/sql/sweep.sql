-- Delete the expired among the next few rows; ids are in the order of creation, so this walks the table once. Tells
-- where it got to even when nothing had expired.
with batch as (
    select s.id, s.expires_at <= now() as is_expired from {schema}.aiosess_sessions s
    where s.id > $1::uuid
    order by s.id
    limit $2
),
expired as (
    delete from {schema}.aiosess_sessions s
    where s.id = any(array(select b.id from batch b where b.is_expired)) and s.expires_at <= now()
    returning {columns}
)
select (select b.id from batch b order by b.id desc limit 1) as reached, now() as read_at, s.*
from (select 1) one left join expired s on true
