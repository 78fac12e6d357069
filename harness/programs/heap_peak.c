// A peak of small and large blocks, then almost nothing: prints the resident size in MiB at the peak and after it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resident.h"

enum { SMALL = 1000000, LARGE = 300 };

static void *small[SMALL], *large[LARGE];

int main(void) {
    for (int i = 0; i < SMALL; i++)
        memset(small[i] = malloc(200), 1, 200);
    for (int i = 0; i < LARGE; i++)
        memset(large[i] = malloc(1 << 20), 1, 1 << 20);
    long peak = resident_kib() >> 10;
    for (int i = 0; i < SMALL; i++)
        free(small[i]);
    for (int i = 0; i < LARGE; i++)
        free(large[i]);
    printf("%ld %ld\n", peak, resident_kib() >> 10);
    return 0;
}
