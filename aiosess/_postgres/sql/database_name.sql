-- The name of the database, for the question that the command line asks.
select current_database() as name
