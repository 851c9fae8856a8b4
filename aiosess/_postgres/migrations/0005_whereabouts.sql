-- Where the current token was first presented from (null: it is the login's): when somebody else presents another one, the
-- two are the places that the session was used from. Read when it ends for that.
alter table {schema}.aiosess_sessions add column promoted_ip text, add column promoted_user_agent text;

-- When a user's sessions were revoked the time before: a login may overlook what its own request revokes, but no other.
alter table {schema}.aiosess_logins add column earlier_at timestamptz;

-- A login in one round trip: end the request's earlier session, evict what is over the cap, insert. Nothing comes back
-- when the user's sessions, or everybody's, were revoked after the login began, unless the login's own request did that
-- (excused: at these instants). A repeated call with the same id changes nothing.
drop function {schema}.aiosess_authenticate;
create function {schema}.aiosess_authenticate(
    login {schema}.aiosess_sessions,
    began interval,
    earlier_id uuid,
    cap int,
    excused timestamptz[]
)
returns table (outcome text, session {schema}.aiosess_sessions)
language plpgsql as $$
declare
    user_revoked_at timestamptz;
    all_revoked_at timestamptz;
    others int;
    is_known boolean;
    is_repeated boolean;
begin
    -- Also the lock: concurrent logins of one user go on one by one, and each sees what the others committed.
    insert into {schema}.aiosess_logins as l (user_id, seen_at) values (login.user_id, now())
    on conflict (user_id) do update set seen_at = excluded.seen_at
    returning l.revoked_at into user_revoked_at;

    select m.revoked_at into all_revoked_at from {schema}.aiosess_schema m;
    if
        (user_revoked_at >= now() - began and user_revoked_at <> all(excused))
        or (all_revoked_at >= now() - began and all_revoked_at <> all(excused))
    then
        return;
    end if;

    -- One scan answers for the device, the cap and the repetition: most logins evict nobody, and a statement that finds
    -- nothing to delete would take as long as all the others together.
    select
        count(*) filter (where s.id is distinct from earlier_id),
        bool_or(s.fingerprint = login.fingerprint) filter (where s.id <> login.id),
        bool_or(s.id = login.id)
    into others, is_known, is_repeated
    from {schema}.aiosess_sessions s
    where s.user_id = login.user_id and s.expires_at > now();

    if is_repeated then
        outcome := case when is_known then 'created' else 'created on a new device' end;
        select s.* into session from {schema}.aiosess_sessions s where s.id = login.id;
        return next;
        return;
    end if;

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
    if others >= cap then
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

    outcome := case when is_known then 'created' else 'created on a new device' end;
    insert into {schema}.aiosess_sessions as s select login.* returning s.* into session;
    return next;
end
$$;

-- End all live sessions of a user but one (null: but none), those included whose login is under way. The first record has
-- no session: it tells when this was, and when the time before.
drop function {schema}.aiosess_revoke_user;
create function {schema}.aiosess_revoke_user(for_user text, kept_id uuid)
returns table (revoked_at timestamptz, earlier_at timestamptz, session {schema}.aiosess_sessions)
language plpgsql as $$
begin
    insert into {schema}.aiosess_logins as login (user_id, seen_at, revoked_at)
    values (for_user, now(), clock_timestamp())
    on conflict (user_id) do update set revoked_at = clock_timestamp(), earlier_at = login.revoked_at
    returning login.revoked_at, login.earlier_at into revoked_at, earlier_at;
    return next;

    for session in
        delete from {schema}.aiosess_sessions s
        where s.user_id = for_user and s.id is distinct from kept_id and s.expires_at > now()
        returning s.*
    loop
        return next;
    end loop;
end
$$;

-- Note that everybody is signed out, and return when that was, and when the time before. The lock waits for logins that
-- run, and lets the next ones see it; a login takes its own lock on this table before it looks.
drop function {schema}.aiosess_begin_revoke_all;
create function {schema}.aiosess_begin_revoke_all(out revoked_at timestamptz, out earlier_at timestamptz)
language plpgsql as $$
begin
    lock table {schema}.aiosess_logins in exclusive mode;
    select m.revoked_at into earlier_at from {schema}.aiosess_schema m for update;
    update {schema}.aiosess_schema m set revoked_at = clock_timestamp() returning m.revoked_at into revoked_at;
end
$$;

-- Drop all sessions at once, however many there are. False: the role may not, somebody reads the whole table (a dump) and
-- would hold up every request behind us, or a table of the application refers to this one.
create or replace function {schema}.aiosess_truncate_sessions() returns boolean
language plpgsql as $$
begin
    perform set_config('lock_timeout', '200ms', true);
    truncate {schema}.aiosess_sessions;
    return true;
exception when lock_not_available or insufficient_privilege or feature_not_supported then
    return false;
end
$$;
