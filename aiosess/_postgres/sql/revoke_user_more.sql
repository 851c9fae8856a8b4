-- End more of the sessions that a user had when they were revoked, except one (null: without exception).
delete from {schema}.aiosess_sessions s
where
    s.id in (
        select o.id from {schema}.aiosess_sessions o
        where
            o.user_id = $1::text and o.id is distinct from $2::uuid
            and o.created_at <= $3::timestamptz and o.expires_at > now()
        limit $4::int
    )
    and s.expires_at > now()
returning {columns}, now()
