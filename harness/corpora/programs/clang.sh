# packages: clang libc6-dev libstdc++-12-dev
# commands: clang clang++
# status: 1
# Every C program of the harness compiled and linked, and a C++ file full of templates; the objects byte for byte.
for source in "$ROOT"/harness/programs/*.c; do
    clang -O2 -w -c -o object.o "$source" -fno-builtin && cksum <object.o
    [ "$SCALE" = 1 ] && [ $((n += 1)) = 6 ] && break
done
for i in $(seq 1 $((SCALE * 40))); do
    echo "struct A$i { std::map<std::string, std::vector<std::pair<int, double>>> m; std::function<int(int)> f; };"
    echo "int f$i() { A$i a; a.m[\"$i\"].push_back({$i, $i.5}); a.f = [&](int x) { return x + $i; }; return a.f($i) + (int)a.m.size(); }"
done >body.inc
{ echo '#include <map>'; echo '#include <string>'; echo '#include <vector>'; echo '#include <functional>'; cat body.inc; } >templates.cc
clang++ -O2 -S -o - templates.cc | cksum
echo 'int main() { return missing; }' >wrong.cc
clang++ wrong.cc
