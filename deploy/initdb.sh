#!/bin/sh
# Not yet run. The first start of the database: the role of fdps, vectors, and what it may do.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$(cat /run/secrets/fdps)" -U postgres -d archives <<'SQL'
CREATE EXTENSION vector;
CREATE ROLE fdps LOGIN PASSWORD :'password';
GRANT CREATE ON DATABASE archives TO fdps;
GRANT pg_checkpoint, pg_read_all_stats TO fdps;
GRANT EXECUTE ON FUNCTION pg_switch_wal() TO fdps;
SQL
