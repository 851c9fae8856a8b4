-- The functions and the trigger of aiosess. This file runs after tables.sql, and again after every upgrade, so each part
-- replaces the one that is there.
--
-- Processes of an older library go on calling these functions while a newer one has upgraded the tables. So a function
-- keeps its name as long as its parameters, its result and their meaning stay the same. If one of these changes, add a
-- function with a new name (aiosess_authenticate_v2) and keep the old one for one release.
--
-- A session is returned as JSON by the names of its columns, never as a value of the table's row type: a column more
-- changes no signature, and a column of another type breaks no plan that a connection has kept. For the same reason no
-- variable has a row type. A variable takes precedence over a column of its name, for a DBA may have added one.
--
-- Every function looks for what it calls in pg_catalog alone. Other roles may be allowed to create functions and operators in
-- a schema of the search path, and one that fits better than PostgreSQL's own would run as the application.

-- The trigger gives a row a higher revision with every UPDATE, whoever makes it: if the revision that a process holds is
-- still that of the row, the row is unchanged. The revision follows the clock, so that a database that was restored from a
-- backup does not use a number again that once stood for other content.
create or replace function {schema}.aiosess_next_revision() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.revision := greatest(old.revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint);
    return new;
end
$$;

create or replace trigger aiosess_next_revision before update on {schema}.aiosess_sessions
for each row execute function {schema}.aiosess_next_revision();

-- A login in one round trip: end the request's earlier session, evict the sessions beyond the cap, insert the new one. The
-- session presented_id also ends, if it is the user's own: the request brought a token of it that is no longer accepted. (A
-- thief may have replaced the session's secret. Another user's session is none of this user's business.)
-- Returns nothing if the user's sessions, or everybody's, were revoked after the login began, unless the login's own
-- request did it (at one of the instants in excused). A second call with the same id changes nothing.
create or replace function {schema}.aiosess_authenticate(
    new_id uuid,
    new_user_id text,
    new_secret_hash bytea,
    new_token_id text,
    new_ip text,
    new_user_agent text,
    new_device_name text,
    new_device_type text,
    new_fingerprint text,
    new_data jsonb,
    new_idle_timeout interval,
    new_absolute_timeout interval,
    new_remember boolean,
    began_ago interval,
    earlier_id uuid,
    presented_id uuid,
    cap int,
    excused timestamptz[]
)
returns table (outcome text, session jsonb)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    user_revoked_at timestamptz;
    all_revoked_at timestamptz;
    others int;
    is_known boolean;
    is_repeated boolean;
begin
    -- This is also the lock: logins of one user run one after another, and each sees what the earlier ones committed.
    insert into {schema}.aiosess_logins as l (user_id, seen_at) values (new_user_id, now())
    on conflict (user_id) do update set seen_at = excluded.seen_at
    returning l.revoked_at into user_revoked_at;

    select m.revoked_at into all_revoked_at from {schema}.aiosess_schema m;
    -- An instant in the future is of the time before the clock was set back: it refuses no login.
    if
        (user_revoked_at between now() - began_ago and clock_timestamp() and user_revoked_at <> all(excused))
        or (all_revoked_at between now() - began_ago and clock_timestamp() and all_revoked_at <> all(excused))
    then
        return;
    end if;

    -- One scan tells how many sessions count towards the cap, whether the device is known and whether the call is a
    -- repetition. Most logins evict nobody, and a DELETE that finds no row would take as long as the rest of the login.
    select
        count(*) filter (where s.id is distinct from earlier_id),
        bool_or(s.fingerprint = new_fingerprint) filter (where s.id <> new_id),
        bool_or(s.id = new_id)
    into others, is_known, is_repeated
    from {schema}.aiosess_sessions s
    where s.user_id = new_user_id and s.expires_at > now();

    if is_repeated then
        return query
            select case when is_known then 'created' else 'created on a new device' end, to_jsonb(s)
            from {schema}.aiosess_sessions s
            where s.id = new_id;
        return;
    end if;

    if coalesce(earlier_id, presented_id) is not null then
        return query
            delete from {schema}.aiosess_sessions s
            where
                s.id in (earlier_id, presented_id)
                and (s.id = earlier_id or s.user_id = new_user_id)
                and s.expires_at > now()
            returning 'replaced'::text, to_jsonb(s);
    end if;

    -- A sign-in without the browser's cookie (a callback by a cross-site POST, a browser that was closed, a double click)
    -- leaves a session behind that nobody uses. Such orphans go first, so that they push out no device in use: sessions that
    -- were never presented, then those that the client of this login used last, then the least recently active. A user may
    -- have many more than a cap that was lowered. Each login ends some of them, because all would take too long.
    if others >= cap then
        return query
            delete from {schema}.aiosess_sessions s
            where s.id in (
                select o.id from {schema}.aiosess_sessions o
                where o.user_id = new_user_id and o.expires_at > now()
                order by
                    o.is_presented desc,
                    coalesce(o.promoted_user_agent, o.user_agent) = new_user_agent
                    and case when o.promoted_user_agent is null then o.ip else o.promoted_ip end is not distinct from new_ip,
                    o.last_active_at desc,
                    o.id desc
                offset cap - 1
                limit 500
            )
            returning 'evicted'::text, to_jsonb(s);
    end if;

    return query
        insert into {schema}.aiosess_sessions as s (
            id, user_id, secret_hash, version, token_id, promoted_at, settled_at,
            ip, user_agent, device_name, device_type, fingerprint, data,
            authenticated_at, created_at, last_active_at,
            expires_at, ends_at, idle_timeout, remember
        )
        values (
            new_id, new_user_id, new_secret_hash, 1, new_token_id, now(), now(),
            new_ip, new_user_agent, new_device_name, new_device_type, new_fingerprint, new_data,
            now(), now(), now(),
            now() + least(new_idle_timeout, new_absolute_timeout), now() + new_absolute_timeout, new_idle_timeout, new_remember
        )
        returning case when is_known then 'created' else 'created on a new device' end, to_jsonb(s);
end
$$;

-- Note that a user's sessions are revoked, those whose login is under way too, and end the live ones except one (null:
-- without exception), but no more than at_most: a user may have very many. The first record has no session: it tells when
-- this was, and when the user's sessions were revoked the time before.
create or replace function {schema}.aiosess_revoke_user(for_user text, kept_id uuid, at_most int)
returns table (revoked_at timestamptz, earlier_at timestamptz, session jsonb)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
begin
    insert into {schema}.aiosess_logins as l (user_id, seen_at, revoked_at)
    values (for_user, now(), clock_timestamp())
    on conflict (user_id) do update set revoked_at = clock_timestamp(), earlier_at = l.revoked_at
    returning l.revoked_at, l.earlier_at into revoked_at, earlier_at;
    return next;

    return query
        delete from {schema}.aiosess_sessions s
        where
            s.id in (
                select o.id from {schema}.aiosess_sessions o
                where o.user_id = for_user and o.id is distinct from kept_id and o.expires_at > now()
                limit at_most
            )
            and s.expires_at > now()
        returning revoked_at, earlier_at, to_jsonb(s);
end
$$;

-- Note that everybody is signed out. Returns when this was, and when it was the time before. The table lock waits for the
-- logins that run now and stops the next ones until they can see the new instant: a login takes its own lock on this table
-- before it reads the instant.
create or replace function {schema}.aiosess_begin_revoke_all(out revoked_at timestamptz, out earlier_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
begin
    lock table {schema}.aiosess_logins in exclusive mode;
    select m.revoked_at into earlier_at from {schema}.aiosess_schema m for update;
    update {schema}.aiosess_schema m set revoked_at = clock_timestamp() returning m.revoked_at into revoked_at;
end
$$;

-- Drop all sessions at once, however many there are. Returns false if the role may not do that, if somebody reads the whole
-- table (a dump) and every request would have to wait behind us, or if a table of the application refers to this one.
create or replace function {schema}.aiosess_truncate_sessions() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('lock_timeout', '200ms', true);
    truncate {schema}.aiosess_sessions;
    return true;
exception when lock_not_available or insufficient_privilege or feature_not_supported then
    return false;
end
$$;
