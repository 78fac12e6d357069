# packages: coreutils xz-utils zstd openssl bash gawk tar bzip2
# commands: sort xz zstd openssl tar awk
# status: -15
# The tools of every day: threads that sort and compress, pipes, archives, signatures, many short processes.
seq 1 $((SCALE * 200000)) | awk '{print ($1 * 7919) % 1000003, $1}' >numbers
sort --parallel=4 -S 5M -n numbers | cksum
xz -T2 -1 <numbers | xz -d | cksum
zstd -q -T2 -3 <numbers | zstd -dq | cksum
bzip2 <numbers | bzip2 -d | cksum
tar -cf - -C "$ROOT" src | tar -tf - | sort | cksum
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -subj /CN=a -days 2 2>/dev/null && openssl verify -CAfile cert cert
openssl dgst -sha256 <numbers
for i in $(seq 1 $((SCALE * 100))); do echo "$i" | sed 's/^/line /' | tr a-z A-Z; done | cksum
awk '{ c[$1 % 97] += $2; s = s substr($0, 1, 1) } END { for (i = 0; i < 97; i++) printf "%d ", c[i]; print length(s) }' numbers
ls /nonexistent; kill -TERM $$
