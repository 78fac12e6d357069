// Small blocks, so many that the heap asks for huge pages, then blocks of somewhat more than a granule, all written to: prints what the latter made resident and what was asked for, in KiB.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resident.h"

enum { SMALL = 300000, LARGE = 800, BYTES = 66000 };

int main(void) {
    for (int i = 0; i < SMALL; i++)
        memset(malloc(200), 1, 200);
    long before = resident_kib();
    for (int i = 0; i < LARGE; i++)
        memset(malloc(BYTES), 1, BYTES);
    printf("%ld %d\n", resident_kib() - before, LARGE * (BYTES >> 10));
    return 0;
}
