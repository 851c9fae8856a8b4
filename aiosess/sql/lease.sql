-- Take the right to mint a successor, if the lease is free; see rotation.is_lease_free. What others take makes the holder
-- wait once, and no longer than they have to wait.
update {schema}.aiosess_sessions s
set
    mint_until = now() + $4::interval,
    holder_until = case
        when $3::boolean then now() + $5::interval
        else coalesce(s.holder_until, now() + $4::interval)
    end
where
    s.id = $1 and s.expires_at > now() and s.token_id = $2
    and coalesce(case when $3::boolean then s.holder_until else s.mint_until end, '-infinity') <= now()
returning {columns}, now()
