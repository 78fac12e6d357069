#!/usr/bin/env python3
"""Real programs under each allocator in turn: gcc, sqlite3, redis-server under redis-benchmark, perl, jq.

    harness/bench/programs.py [--library LIB] [--runs 5] [--programs NAME,...] [--peers "NAME=LIBRARY ..."]

CPU seconds and peak resident memory of the program with all processes that it starts, each preloaded (gcc's compiler and assembler, redis' client), as ratios to a run without any
preloaded library: the C library's malloc, but jemalloc in Debian's redis-server. Peers are Debian's mimalloc, jemalloc and tcmalloc where they are installed, and what --peers names
(`--peers "$(harness/bench/mimalloc.sh)"`). A program that is not installed is left out and named.
"""
import json
import os
import shutil
import tempfile

import measuring
from measuring import Column, Table, in_turn

REDIS = r"""
redis-server --port 0 --unixsocket "$PWD/s" --dir "$PWD" --save '' --appendonly no >log 2>&1 &
server=$!
until redis-cli -s s ping >/dev/null 2>&1; do kill -0 $server 2>/dev/null || exit 1; sleep 0.02; done
redis-benchmark -s s -n 15000 -c 20 -r 100000 -d 100 -q -t set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,mset >/dev/null 2>&1 || exit 1
redis-cli -s s shutdown nosave
wait $server
"""
PERL = r"""
my (%words, @rows);
for my $round (1 .. 3) {
    for my $i (1 .. 40000) { my $k = $i * 7919 % 30011; $words{"word$k"} .= chr(97 + $i % 26); push @{ $rows[$k % 997] }, [ $k, "x" x ($k % 60) ] }
    for my $row (@rows) { my @sorted = sort { $a->[0] <=> $b->[0] } @$row; splice @$row, 0, @$row / 2; $words{"$_->[1]$_->[0]"}++ for @sorted }
    my $text = join ",", map { "$_=$words{$_}" } sort keys %words; my %back = map { split /=/ } split /,/, $text; %words = () if $round % 2 == 0;
}
"""
SQL = """
create table t(id integer primary key, a text, b real); create index ta on t(a);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000) insert into t select i, hex(i * 7919 % 1000003), i / 3.0 from n;
select count(*), sum(length(x.a || y.a)) from t x join t y on y.id = x.id * 7919 % 150000 + 1;
select substr(a, 1, 3) k, group_concat(a), total(b) from t group by k order by k;
update t set a = a || 'x' where id % 3 = 0; delete from t where id % 7 = 0;
select count(*) from (select a, row_number() over (partition by substr(a, 1, 2) order by b) r from t) where r < 9;
"""


def c_source(functions):
    """A long C file: structures, switches, loops and calls, each function a little different."""
    lines = ["#include <stdio.h>", "#include <string.h>", "#include <stdlib.h>"]
    for i in range(functions):
        lines += [
            f"struct s{i} {{ int a[{i % 13 + 1}]; double d; struct s{i} *next; char name[{i % 31 + 1}]; }};",
            f"static int f{i}(struct s{i} *p, int n) {{",
            f"  int sum = n * {i}; for (int i = 0; i < n; i++) {{ p->a[i % {i % 13 + 1}] += i ^ {i}; sum += p->a[i % {i % 13 + 1}]; }}",
            f"  switch (sum % {i % 7 + 3}) {{ case 0: p->d *= 1.5; break; case 1: p->name[0] = (char)sum; break; case 2: return sum << 2; default: sum -= {i}; }}",
            f"  while (p && p->next && sum > {i}) {{ p = p->next; sum /= 2; }} return p ? sum + (int)p->d : {f'f{i - 1}(0, n)' if i else 'n'}; }}",
        ]
    calls = " ".join(f"{{ struct s{i} *p = calloc(1, sizeof *p); r += f{i}(p, c); free(p); }}" for i in range(functions))
    return "\n".join([*lines, f"int main(int c, char **v) {{ int r = 0; (void)v; {calls} return r; }}", ""])


def programs(folder):
    """(name, the programs that it needs, command)."""
    path = lambda name: os.path.join(folder, name)
    with open(path("large.c"), "w") as file:
        file.write(c_source(250))
    with open(path("large.json"), "w") as file:
        json.dump([{"id": i, "name": f"n{i * 7919 % 10007}", "list": list(range(i % 9)), "in": {"a": i / 3, "b": None}} for i in range(60000)], file)
    with open(path("script.sql"), "w") as file:
        file.write(SQL)
    with open(path("script.pl"), "w") as file:
        file.write(PERL)
    shell = lambda text: ["sh", "-c", text]
    return [
        ("gcc", ["gcc"], ["gcc", "-O1", "-w", "-c", "large.c", "-o", "large.o"]),
        ("sqlite3", ["sqlite3"], shell("sqlite3 :memory: <script.sql >out")),
        ("redis", ["redis-server", "redis-cli", "redis-benchmark"], shell(REDIS)),
        ("perl", ["perl"], ["perl", "script.pl"]),
        ("jq", ["jq"], shell("jq 'map(select(.id % 3 > 0)) | group_by(.name) | map({k: .[0].name, n: length, s: (map(.list | add // 0) | add)})' large.json >out")),
    ]


def installed_programs(folder, wanted=None):
    """(name, command, folder) of those that are installed, or of the wanted ones among them; those that are not are named."""
    for name, needed, command in programs(folder):
        if wanted and name not in wanted:
            continue
        if missing := [tool for tool in needed if not shutil.which(tool)]:
            print(f"{name} is left out: {', '.join(missing)} not installed", flush=True)
        else:
            yield name, [shutil.which(command[0]), *command[1:]], folder


def main():
    parser = measuring.parser(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--programs", type=lambda text: text.split(","), help="only these")
    parser.add_argument("--peers", type=str.split, default=[], help='more columns: "NAME=LIBRARY ..."')
    options = measuring.options_of(parser)
    peers = [*measuring.installed_peers(), *(peer.split("=", 1) for peer in options.peers)]
    columns = [Column("none"), Column("gcshim", options.library, GCSHIM_AUDIT="never"), *(Column(name, library) for name, library in peers)]
    table = Table(f"Real programs, {options.runs} runs", columns)
    with tempfile.TemporaryDirectory() as folder:
        for name, command, _ in installed_programs(folder, options.programs):
            table.add(name, in_turn(command, columns, options.runs, folder))
    table.end()


if __name__ == "__main__":
    main()
