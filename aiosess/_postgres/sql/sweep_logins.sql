-- Forget those of the next few users who have not signed in for a day: no login takes that long. This walks through the table
-- once. Tells how far it got; no record comes at the end. A user who signs in at this moment is left out.
with batch as (
    select l.user_id from {schema}.aiosess_logins l
    where l.user_id > $1::text
    order by l.user_id
    limit $2::int
),
old as (
    select l.user_id from {schema}.aiosess_logins l
    where
        l.user_id = any(array(select b.user_id from batch b))
        and greatest(l.seen_at, l.revoked_at) < now() - interval '24 hours'
    for update skip locked
),
forgotten as (
    delete from {schema}.aiosess_logins l where l.user_id = any(array(select o.user_id from old o))
)
select b.user_id::text as reached from batch b order by b.user_id desc limit 1
