-- The tables of aiosess as a new database gets them; functions.sql follows. A DBA may add columns to them: every statement
-- of aiosess names the columns that it reads and writes.

-- One row: which version the tables have, and what concerns all sessions.
create table {schema}.aiosess_schema (
    only_row boolean primary key default true check (only_row),
    version int not null,
    -- A library that was made for this version of the tables, or for a later one, may use them.
    compatible_from int not null,
    -- Whose users the sessions belong to (the option of that name); the first application to start writes it here.
    audience text,
    -- When a process last took the sweep of expired rows.
    swept_at timestamptz not null default '-infinity',
    -- When everybody was last signed out: a login that was under way then does not count.
    revoked_at timestamptz not null default '-infinity'
);

-- One row per session.
create table {schema}.aiosess_sessions (
    id uuid primary key,
    user_id text collate "C" not null,

    -- The secret of the session (only its hash is stored) and the tokens that carry it. The current token is the one that
    -- was promoted last. It has settled when the browser presented it again.
    secret_hash bytea not null,
    -- When rotate() replaced the secret; null: never, or an old secret that came later than late_window has been told of.
    secret_replaced_at timestamptz,
    version int not null,
    token_id text collate "C" not null,
    parent_id text collate "C",
    promoted_at timestamptz not null,
    settled_at timestamptz,
    -- Tokens that were current before: [[token id, seconds since the epoch], …], oldest first.
    retired jsonb not null default '[]',

    -- The holder is the client (a digest of address and User-Agent) that the session belongs to; null: the client of the
    -- login. A client that was given the current token and promoted it stands in promoted_by, and becomes the holder when
    -- that token has settled and the next one is promoted.
    holder text,
    promoted_by text,
    -- Where the current token was first presented from; null: where the login came from. An event names this place when
    -- the session ends because somebody else has a token of it.
    promoted_ip text,
    promoted_user_agent text,

    -- The lease is the right to mint a successor. The holder gets none before holder_until, nobody else before mint_until.
    mint_until timestamptz,
    holder_until timestamptz,
    -- Which client got the last successor, for which token, and how many successors of that token went to clients other
    -- than the holder.
    leased_to text,
    leased_for text,
    leased_often int not null default 0,

    ip text,
    user_agent text not null,
    device_name text not null,
    device_type text not null,
    fingerprint text not null,
    data jsonb not null default '{}',

    authenticated_at timestamptz not null,
    created_at timestamptz not null,
    last_active_at timestamptz not null,
    expires_at timestamptz not null,
    -- The absolute limit: expires_at is never later.
    ends_at timestamptz not null,
    idle_timeout interval not null,
    remember boolean not null,
    -- Whether a request after the login brought a token. Over the cap a session that never did is evicted first.
    is_presented boolean not null default false,

    -- A trigger moves it with every UPDATE.
    revision bigint not null default 0
)
-- Room on each page for the next version of a row, so that touches are HOT updates.
with (fillfactor = 80);

-- Only a column that no request changes has an index: an index on a column that a touch changes would prevent HOT updates.
create index aiosess_sessions_user_id on {schema}.aiosess_sessions (user_id);

-- One row per user who signed in lately. A login locks its row, so that concurrent logins of one user respect the cap.
create table {schema}.aiosess_logins (
    user_id text collate "C" primary key,
    seen_at timestamptz not null,
    -- When the user's sessions were last revoked: a login that was under way then does not count.
    revoked_at timestamptz not null default '-infinity',
    -- When they were revoked the time before. A login may ignore a revocation that its own request made, but no other.
    earlier_at timestamptz
)
with (fillfactor = 80);
