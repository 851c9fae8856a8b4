-- A new secret: every token of the old one is dead at once.
update {schema}.aiosess_sessions s
set
    secret_hash = $3,
    version = s.version + 1,
    token_id = $4,
    parent_id = null,
    promoted_at = now(),
    settled_at = now(),
    mint_until = null,
    retired = '[]'::jsonb,
    authenticated_at = case when $5::boolean then now() else s.authenticated_at end
where s.id = $1 and s.expires_at > now() and s.secret_hash = $2
returning {columns}, now()
