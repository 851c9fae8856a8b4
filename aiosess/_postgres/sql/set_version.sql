-- Note which version the tables now have, and from which version on a library may use them.
insert into {schema}.aiosess_schema as m (version, compatible_from) values ($1, $2)
on conflict (only_row) do update set version = excluded.version, compatible_from = excluded.compatible_from
