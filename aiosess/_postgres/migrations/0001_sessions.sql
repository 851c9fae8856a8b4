-- What version the schema is of, and when its expired rows were last swept: one row.
create table {schema}.aiosess_schema (
    only_row boolean primary key default true check (only_row),
    version int not null,
    swept_at timestamptz not null default '-infinity'
);

insert into {schema}.aiosess_schema (version) values (0);

create table {schema}.aiosess_sessions (
    id uuid primary key,
    user_id text collate "C" not null,
    secret_hash bytea not null,
    version int not null,
    token_id text collate "C" not null,
    parent_id text collate "C",
    promoted_at timestamptz not null,
    settled_at timestamptz,
    mint_until timestamptz,
    retired jsonb not null default '[]',
    revision bigint not null default 0,
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
    ends_at timestamptz not null,
    idle_timeout interval not null,
    remember boolean not null
)
-- Room on each page for the next version of a row, so that touches stay HOT updates.
with (fillfactor = 80);

-- Only columns that no request changes are indexed: an index on what a touch moves would end HOT.
create index aiosess_sessions_user_id on {schema}.aiosess_sessions (user_id);

-- One row per user who signed in lately: the lock that makes the cap on sessions exact under concurrent logins, and the
-- instant from which logins that were already under way no longer count.
create table {schema}.aiosess_logins (
    user_id text collate "C" primary key,
    seen_at timestamptz not null,
    revoked_at timestamptz not null default '-infinity'
)
with (fillfactor = 80);

-- The revision moves on every UPDATE, whoever makes it: a held row whose revision is unchanged is unchanged. It follows
-- the clock, so that a database that went back in time does not give a number again that once stood for other content.
create function {schema}.aiosess_next_revision() returns trigger
language plpgsql as $$
begin
    new.revision := greatest(old.revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    return new;
end
$$;

create trigger aiosess_next_revision before update on {schema}.aiosess_sessions
for each row execute function {schema}.aiosess_next_revision();

-- A login in one round trip: end the request's earlier session, evict what is over the cap, insert. Nothing comes back
-- when the user's sessions were revoked after the login began. A repeated call with the same id changes nothing.
create function {schema}.aiosess_authenticate(
    login {schema}.aiosess_sessions,
    began interval,
    earlier_id uuid,
    cap int
)
returns table (outcome text, session {schema}.aiosess_sessions)
language plpgsql as $$
declare
    last_revoked timestamptz;
    is_new_device boolean;
begin
    -- Also the lock: concurrent logins of one user go on one by one, and each sees what the others committed.
    insert into {schema}.aiosess_logins as l (user_id, seen_at) values (login.user_id, now())
    on conflict (user_id) do update set seen_at = excluded.seen_at
    returning l.revoked_at into last_revoked;

    if last_revoked >= now() - began then
        return;
    end if;

    outcome := 'created';
    select s.* into session from {schema}.aiosess_sessions s where s.id = login.id;
    if session.id is not null then
        return next;
        return;
    end if;

    is_new_device := not exists (
        select from {schema}.aiosess_sessions s
        where s.user_id = login.user_id and s.fingerprint = login.fingerprint and s.expires_at > now()
    );

    outcome := 'replaced';
    if earlier_id is not null then
        for session in
            delete from {schema}.aiosess_sessions s
            where s.id = earlier_id and s.expires_at > now()
            returning s.*
        loop
            return next;
        end loop;
    end if;

    outcome := 'evicted';
    if cap is not null then
        for session in
            delete from {schema}.aiosess_sessions s
            where s.id in (
                select o.id from {schema}.aiosess_sessions o
                where o.user_id = login.user_id and o.expires_at > now()
                order by o.last_active_at desc, o.id desc
                offset cap - 1
            )
            returning s.*
        loop
            return next;
        end loop;
    end if;

    outcome := case when is_new_device then 'created on a new device' else 'created' end;
    insert into {schema}.aiosess_sessions as s select login.* returning s.* into session;
    return next;
end
$$;

-- End all live sessions of a user but one (null: but none), those included whose login is under way.
create function {schema}.aiosess_revoke_user(for_user text, kept_id uuid)
returns setof {schema}.aiosess_sessions
language plpgsql as $$
begin
    insert into {schema}.aiosess_logins as login (user_id, seen_at, revoked_at)
    values (for_user, now(), clock_timestamp())
    on conflict (user_id) do update set revoked_at = excluded.revoked_at;

    return query
        delete from {schema}.aiosess_sessions s
        where s.user_id = for_user and s.id is distinct from kept_id and s.expires_at > now()
        returning s.*;
end
$$;
