# packages: sqlite3
# commands: sqlite3
# status: 1
# Tables, indices, transactions, recursion, a window, a dump and its restoration, the integrity check.
sqlite3 base.db >out <<END
create table t(id integer primary key, a text, b real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < $((SCALE * 100000))) insert into t select i, hex(i * 7919 % 1000003), i / 3.0 from n;
create index ta on t(a);
select count(*), sum(id), max(a), round(total(b)) from t;
begin; update t set b = b + 1 where id % 3 = 0; delete from t where id % 7 = 0; rollback;
select a, count(*) c from t group by substr(a, 1, 2) order by c desc, a limit 5;
select id, sum(b) over (order by id rows between 10 preceding and current row) from t where id % 9973 = 0;
vacuum;
pragma integrity_check;
.mode json
select * from t where id < 5;
END
cat out
sqlite3 base.db .dump | tee dump.sql | cksum
sqlite3 again.db <dump.sql && sqlite3 again.db 'select count(*) from t; select no_such_column from t'
