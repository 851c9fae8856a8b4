-- How many successors clients other than the holder were given for the token that was leased last.
alter table {schema}.aiosess_sessions add column leased_often int not null default 0;

-- Until now the list of retired tokens kept those of earlier versions, too: a sibling would find no room in it.
update {schema}.aiosess_sessions set retired = jsonb_build_array(retired -> -1)
where settled_at is null and jsonb_array_length(retired) > 1;
