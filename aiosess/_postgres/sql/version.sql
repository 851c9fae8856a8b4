-- The version of the tables, and from which version on a library may use them.
select m.version::int, m.compatible_from::int from {schema}.aiosess_schema m
