// Small blocks, so many that the heap asks for huge pages, then blocks of somewhat more than a granule, all written to: prints what the latter made resident and what was asked for, in KiB.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL = 300000, LARGE = 800, BYTES = 66000 };

static long resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) >> 10);
}

int main(void) {
    for (int i = 0; i < SMALL; i++)
        memset(malloc(200), 1, 200);
    long before = resident();
    for (int i = 0; i < LARGE; i++)
        memset(malloc(BYTES), 1, BYTES);
    printf("%ld %d\n", resident() - before, LARGE * (BYTES >> 10));
    return 0;
}
