-- Forget some users who have not signed in for a day: no login takes that long.
delete from {schema}.aiosess_logins l
where l.ctid = any(array(
    select o.ctid from {schema}.aiosess_logins o
    where greatest(o.seen_at, o.revoked_at) < now() - interval '24 hours'
    limit $1::int
    for update skip locked
))
returning 1
