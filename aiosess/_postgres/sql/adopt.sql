-- Make a presented token the current one, and retire the one that was. The lease stays: were it free again, a slow request
-- with the parent would be given a third successor, and a crash would then end the session.
update {schema}.aiosess_sessions s
set
    version = $2,
    token_id = $3,
    parent_id = $4,
    promoted_at = now(),
    settled_at = null,
    -- A client takes the place of the holder with a token that it was given, not one that it may have stolen, and that
    -- settles, which one presentation does not do.
    holder = case when s.settled_at is null then s.holder else coalesce(s.promoted_by, s.holder) end,
    promoted_by = case when s.leased_to = $8 then $8 end,
    promoted_ip = $10,
    promoted_user_agent = $11,
    retired = (
        select coalesce(jsonb_agg(r.entry order by r.place), '[]'::jsonb)
        from jsonb_array_elements(
            s.retired || jsonb_build_array(jsonb_build_array(s.token_id, extract(epoch from now())))
        ) with ordinality r (entry, place)
        where
            r.place > jsonb_array_length(s.retired) + 1 - $5::int
            -- Of earlier versions only those that may be late still matter. Of this one all do: who is forgotten would be a
            -- sibling again.
            and (s.version = $2 or to_timestamp((r.entry ->> 1)::float8) > now() - $9::interval)
    )
where s.id = $1 and s.expires_at > now() and s.token_id = $6 and s.settled_at is not distinct from $7
returning {columns}, now()
