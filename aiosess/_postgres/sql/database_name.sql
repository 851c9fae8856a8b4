-- The name of the database, for the question that the command line asks.
select pg_catalog.current_database() as name
