-- When everybody was signed out last: logins that were under way then no longer count.
alter table {schema}.aiosess_schema add column revoked_at timestamptz not null default '-infinity';

-- A login in one round trip: end the request's earlier session, evict what is over the cap, insert. Nothing comes back
-- when the user's sessions, or everybody's, were revoked after the login began. A repeated call with the same id changes nothing.
create or replace function {schema}.aiosess_authenticate(
    login {schema}.aiosess_sessions,
    began interval,
    earlier_id uuid,
    cap int
)
returns table (outcome text, session {schema}.aiosess_sessions)
language plpgsql as $$
declare
    last_revoked timestamptz;
    others int;
    is_known boolean;
    is_repeated boolean;
begin
    -- Also the lock: concurrent logins of one user go on one by one, and each sees what the others committed.
    insert into {schema}.aiosess_logins as l (user_id, seen_at) values (login.user_id, now())
    on conflict (user_id) do update set seen_at = excluded.seen_at
    returning l.revoked_at into last_revoked;

    select greatest(last_revoked, m.revoked_at) into last_revoked from {schema}.aiosess_schema m;
    if last_revoked >= now() - began then
        return;
    end if;

    -- One scan answers for the device, the cap and the repetition: most logins evict nobody, and a statement that finds
    -- nothing to delete would take as long as all the others together.
    select
        count(*) filter (where s.id is distinct from earlier_id),
        bool_or(s.fingerprint = login.fingerprint),
        bool_or(s.id = login.id)
    into others, is_known, is_repeated
    from {schema}.aiosess_sessions s
    where s.user_id = login.user_id and s.expires_at > now();

    outcome := 'created';
    if is_repeated then
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

-- Note that everybody is signed out, and return when that was. The lock waits for logins that run, and lets the next ones
-- see it; a login takes its own lock on this table before it looks.
create function {schema}.aiosess_begin_revoke_all() returns timestamptz
language plpgsql as $$
declare
    instant timestamptz;
begin
    lock table {schema}.aiosess_logins in exclusive mode;
    update {schema}.aiosess_schema set revoked_at = clock_timestamp() returning revoked_at into instant;
    return instant;
end
$$;

-- Drop all sessions at once, however many there are. False: the role may not, or somebody reads the whole table (a dump)
-- and would hold up every request behind us.
create function {schema}.aiosess_truncate_sessions() returns boolean
language plpgsql as $$
begin
    perform set_config('lock_timeout', '200ms', true);
    truncate {schema}.aiosess_sessions;
    return true;
exception when lock_not_available or insufficient_privilege then
    return false;
end
$$;
