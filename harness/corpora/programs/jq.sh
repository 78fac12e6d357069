# packages: jq
# commands: jq
# status: 3
# A large document made, grouped, sorted, and taken apart as a stream.
jq -n --argjson n $((SCALE * 30000)) '[range($n) | {id: ., name: "n\(. * 7919 % 10007)", list: [range(. % 5)]}]' >large.json
cksum <large.json
jq 'group_by(.id % 10) | map({k: .[0].id, n: length, s: (map(.list | add // 0) | add)})' large.json | cksum
jq -c 'sort_by(.name) | .[:3]' large.json
jq -c --stream 'select(length == 2) | .[1]' large.json | cksum
jq '.[' large.json
