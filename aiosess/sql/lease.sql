-- Take the right to mint a successor of a presented token, if the lease is free; see rotation.is_lease_free. What others
-- take for one token makes the holder wait once.
update {schema}.aiosess_sessions s
set
    mint_until = now() + $5::interval,
    leased_to = $7,
    leased_for = $3,
    holder_until = case
        when $4::boolean then now() + $6::interval
        when s.leased_for = $3 then s.holder_until
        else now() + $5::interval
    end
where
    s.id = $1 and s.expires_at > now() and s.token_id = $2
    and coalesce(case when $4::boolean then s.holder_until else s.mint_until end, '-infinity') <= now()
returning {columns}, now()
