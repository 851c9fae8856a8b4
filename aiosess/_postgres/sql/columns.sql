-- The columns of a session that are read, and as which types, in the order of the fields of Row; see columns.py.
id uuid, user_id text, secret_hash bytea, version int, token_id text, parent_id text, promoted_at timestamptz,
settled_at timestamptz, mint_until timestamptz, holder text, promoted_by text, holder_until timestamptz, retired text,
revision bigint, ip text, user_agent text, device_name text, device_type text, fingerprint text, data text,
authenticated_at timestamptz, created_at timestamptz, last_active_at timestamptz, expires_at timestamptz,
ends_at timestamptz, remember boolean, is_presented boolean, secret_replaced_at timestamptz
