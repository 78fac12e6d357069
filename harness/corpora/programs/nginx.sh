# packages: nginx-light apache2-utils wrk
# commands: nginx ab wrk
# status: 1
# Two workers on a loopback port that is free: wrk's connections, ab's requests, a reload meanwhile, compression.
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
mkdir -p www tmp && chmod 755 . www
seq 1 20000 >www/numbers.txt
cat >conf <<END
worker_processes 2; daemon off; pid $PWD/pid; error_log $PWD/error.log; user $(id -un);
events { worker_connections 200; }
http {
    access_log $PWD/access.log; gzip on; gzip_min_length 100; gzip_types *;
    client_body_temp_path $PWD/tmp/a; proxy_temp_path $PWD/tmp/b; fastcgi_temp_path $PWD/tmp/c; uwsgi_temp_path $PWD/tmp/d; scgi_temp_path $PWD/tmp/e;
    server { listen 127.0.0.1:$port; root $PWD/www; location /again/ { proxy_pass http://127.0.0.1:$port/; } }
}
END
nginx -p "$PWD" -c "$PWD/conf" 2>start.log &
server=$!
for _ in $(seq 1 200); do (exec 3<>/dev/tcp/127.0.0.1/"$port") 2>/dev/null && break; sleep 0.05; done
ab -q -n $((SCALE * 500)) -c 8 "http://127.0.0.1:$port/numbers.txt" 2>&1 | grep -E 'Complete requests|Failed requests|Document Length'
ab -q -n $((SCALE * 200)) -c 4 -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/again/numbers.txt" 2>&1 | grep -E 'Complete requests|Failed requests'
wrk -t 2 -c 20 -d 1 "http://127.0.0.1:$port/numbers.txt" | grep -cE 'Non-2xx|Socket errors'
kill -HUP $server
sleep 0.5
ab -q -n 100 -c 4 "http://127.0.0.1:$port/numbers.txt" 2>&1 | grep -E 'Complete requests|Failed requests'
kill -QUIT $server
wait $server
echo "server $?"
grep -E 'alert|emerg|exited on signal' error.log
