-- A row, in the order of the fields of session.Row; put into the other statements.
s.id, s.user_id, s.secret_hash, s.version, s.token_id, s.parent_id, s.promoted_at, s.settled_at, s.mint_until,
s.holder, s.promoted_by, s.holder_until, s.retired::text, s.revision, s.ip, s.user_agent, s.device_name, s.device_type,
s.fingerprint, s.data::text, s.authenticated_at, s.created_at, s.last_active_at, s.expires_at, s.ends_at, s.remember
