# packages: postgresql
# commands: pgbench psql
# status: 0
# A cluster of its own on a unix socket: initdb, pgbench with several clients, a dump and its restoration, a parallel query. Not as root: it refuses.
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
[ -n "$bin" ] || bin=$(dirname "$(command -v postgres)")
cat >run.sh <<END
set -e
cd "$PWD/own"
export PATH=$bin:\$PATH PGHOST=$PWD/own PGDATABASE=postgres PGUSER=me LC_ALL=C
initdb -D data -U me -A trust --no-sync >/dev/null
pg_ctl -D data -s -w -o "-c listen_addresses= -c unix_socket_directories=$PWD/own -c fsync=off -c max_parallel_workers_per_gather=2" -l log start
pgbench -q -i -s $SCALE 2>/dev/null
pgbench -n -c 4 -j 2 -t $((SCALE * 100)) 2>/dev/null | grep -E 'processed|failed'
psql -Atc "set parallel_setup_cost=0; set min_parallel_table_scan_size=0; select sum(aid), count(*) from pgbench_accounts" -c "select count(*) from pgbench_history"
psql -Atc "create table t as select i, md5(i::text) m from generate_series(1, 50000) i; create index on t(m); select md5(string_agg(m, ',' order by i)) from t"
pg_dump -t t -f dump.sql
psql -q -c 'alter table t rename to u; alter index t_m_idx rename to u_m_idx'
psql -q -o /dev/null -f dump.sql
psql -Atc "select count(*) from t join u using (m)" -c "vacuum full analyze"
psql -Atc "select 1/0" 2>&1 || echo "status \$?"
pg_ctl -D data -s -w -m fast stop
# Who waits for the start is told that it is not over, and who has not quite hung up when the server stops, that it does.
grep -E 'PANIC|FATAL|terminated by signal' log | grep -vE 'is starting up|due to administrator command' || true
END
mkdir own
if [ "$(id -u)" = 0 ]; then
    chmod 755 . && chown nobody own
    # With the environment, the shim's among it, and no other privilege.
    setpriv --reuid=nobody --regid=nogroup --clear-groups bash run.sh
else
    bash run.sh
fi
