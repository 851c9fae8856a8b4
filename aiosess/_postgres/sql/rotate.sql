-- Replace the secret: every token that carries the old one is dead at once. If the answer was lost, the statement may run
-- again: nobody else knows the new secret, so if the row has it, this request has put it there.
update {schema}.aiosess_sessions s
set
    secret_hash = $3::bytea,
    secret_replaced_at = now(),
    version = case when s.secret_hash = $3::bytea then s.version else s.version + 1 end,
    token_id = $4::text,
    parent_id = null,
    promoted_at = now(),
    settled_at = now(),
    mint_until = null,
    holder_until = null,
    -- Only this client is given the new token.
    holder = $6::text,
    promoted_by = null,
    promoted_ip = $7::text,
    promoted_user_agent = $8::text,
    leased_to = null,
    leased_for = null,
    leased_often = 0,
    retired = '[]'::jsonb,
    authenticated_at = case when $5::boolean then now() else s.authenticated_at end
where s.id = $1::uuid and s.expires_at > now() and s.secret_hash in ($2::bytea, $3::bytea)
returning {columns}, now()
