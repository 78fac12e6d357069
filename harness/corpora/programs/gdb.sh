# packages: gdb gcc libc6-dev
# commands: gdb gcc
# status: 0
# A program debugged: breakpoints, a trace back, Python inside, a crash looked at. The shim is in both.
cat >main.c <<'END'
#include <stdlib.h>
#include <string.h>
static int deep(int n) { return n == 0 ? 7 : deep(n - 1) + 1; }
int main(void) { char *p = malloc(100); strcpy(p, "text"); int n = deep(5); free(p); if (n == 12) abort(); return n; }
END
gcc -g -O0 -o main main.c || exit 1
gdb -nx -q -batch -iex 'set debuginfod enabled off' -ex 'break deep if n == 0' -ex run -ex bt -ex 'up 6' -ex 'print p' -ex 'python print(sum(range(10)))' \
    -ex 'python print(gdb.selected_frame().name())' -ex continue -ex 'bt -1' ./main 2>&1 | grep -vE 'Thread debugging|Using host|process [0-9]|^$|libthread' |
    sed -E 's/0x[0-9a-f]+/ADDRESS/g'
