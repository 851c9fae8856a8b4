-- How many successors clients other than the holder were given for the token that was leased last.
alter table {schema}.aiosess_sessions add column leased_often int not null default 0;
