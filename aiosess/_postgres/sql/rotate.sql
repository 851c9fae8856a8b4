-- A new secret: every token of the old one is dead at once. The statement may be repeated when its answer was lost: only
-- this request knows the new secret, so who finds it in the row has put it there.
update {schema}.aiosess_sessions s
set
    secret_hash = $3,
    version = case when s.secret_hash = $3 then s.version else s.version + 1 end,
    token_id = $4,
    parent_id = null,
    promoted_at = now(),
    settled_at = now(),
    mint_until = null,
    holder_until = null,
    -- Nobody else is given the new token.
    holder = $6,
    promoted_by = null,
    promoted_ip = $7,
    promoted_user_agent = $8,
    leased_to = null,
    leased_for = null,
    leased_often = 0,
    retired = '[]'::jsonb,
    authenticated_at = case when $5::boolean then now() else s.authenticated_at end
where s.id = $1 and s.expires_at > now() and s.secret_hash in ($2, $3)
returning {columns}, now()
