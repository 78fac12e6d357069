# packages: redis-server redis-tools
# commands: redis-server redis-cli redis-benchmark
# status: 0
# A server on a unix socket: the benchmark's commands, a snapshot by a forked child, a reload, a script.
redis-server --port 0 --unixsocket "$PWD/s" --dir "$PWD" --save '' --appendonly yes --daemonize no >log 2>&1 &
server=$!
for _ in $(seq 1 200); do redis-cli -s s ping >/dev/null 2>&1 && break; sleep 0.05; done
redis-benchmark -s s -n $((SCALE * 10000)) -c 20 -q -t set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset >/dev/null 2>&1
echo "benchmark $?"
redis-cli -s s eval 'for i = 1, 20000 do redis.call("set", "k" .. i, string.rep("v", i % 200)) end return redis.call("dbsize") > 20000' 0
redis-cli -s s bgsave >/dev/null
while redis-cli -s s info persistence | grep -q 'rdb_bgsave_in_progress:1'; do sleep 0.1; done
redis-cli -s s info persistence | grep rdb_last_bgsave_status
redis-cli -s s bgrewriteaof >/dev/null
while redis-cli -s s info persistence | grep -q 'aof_rewrite_in_progress:1'; do sleep 0.1; done
redis-cli -s s debug reload
redis-cli -s s get k199 | cksum
redis-cli -s s memory purge
redis-cli -s s shutdown nosave
wait $server
echo "server $?"
