-- What the server and the connection are like: the version, the encoding, the isolation that statements have by default, the
-- schema that comes first on the search path, and the time.
select
    pg_catalog.current_setting('server_version_num')::int as version,
    pg_catalog.getdatabaseencoding()::text as encoding,
    pg_catalog.current_setting('default_transaction_isolation') as isolation,
    (
        select path.name::text
        from pg_catalog.unnest(pg_catalog.current_schemas(true)) with ordinality path (name, place)
        where not pg_catalog.starts_with(path.name::text, 'pg_temp_')
        order by path.place
        limit 1
    ) as first_schema,
    now() as told_at
