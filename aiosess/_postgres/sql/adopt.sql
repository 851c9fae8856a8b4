-- Make a presented token the current one and retire the token that was current. The lease stays taken: if it were free
-- again, a slow request with the parent would get a third successor, and a crash of the browser would then end the session.
update {schema}.aiosess_sessions s
set
    version = $2::int,
    token_id = $3::text,
    parent_id = $4::text,
    promoted_at = now(),
    settled_at = null,
    is_presented = true,
    -- A client becomes the holder only with a token that it was given (it may have stolen any other one), and only when
    -- that token settles: to present it once is not enough.
    holder = case when s.settled_at is null then s.holder else coalesce(s.promoted_by, s.holder) end,
    promoted_by = case when s.leased_to = $8::text then $8::text end,
    promoted_ip = $10::text,
    promoted_user_agent = $11::text,
    retired = (
        select coalesce(pg_catalog.jsonb_agg(r.entry order by r.place), '[]'::jsonb)
        from pg_catalog.jsonb_array_elements(
            s.retired || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(s.token_id, extract(epoch from now())))
        ) with ordinality r (entry, place)
        where
            r.place > pg_catalog.jsonb_array_length(s.retired) + 1 - $5::int
            -- Retired tokens of earlier versions matter only while one may still arrive late. Those of this version all
            -- matter: a token that we forget would pass for a sibling again.
            and (
                s.version = $2::int
                or pg_catalog.to_timestamp((r.entry ->> 1)::float8) > now() - pg_catalog.make_interval(secs => $9::float8)
            )
    )
where
    s.id = $1::uuid and s.expires_at > now()
    and s.token_id = $6::text and s.settled_at is not distinct from $7::timestamptz
returning {columns}, now()
