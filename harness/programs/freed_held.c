// Frees blocks and keeps pointers into some: three in global variables, two in a block, one of them into the middle. Then audits.
#include <stdio.h>
#include <stdlib.h>

#include "../../include/gcshim.h"

enum { BYTES = 1237 };

static char *globals[3];
static char **block;

static __attribute__((noinline)) void fill(void) {
    char *volatile passing[10];
    // Blocks of 48 bytes are what this gets in each mode.
    block = malloc(40);
    for (int i = 0; i < 10; i++)
        passing[i] = malloc(BYTES);
    for (int i = 0; i < 3; i++)
        globals[i] = passing[i];
    // The same block twice.
    globals[2] = passing[1];
    block[0] = passing[3];
    block[1] = passing[4] + 600;
    for (int i = 0; i < 10; i++)
        free(passing[i]);
}

static __attribute__((noinline)) void wipe(void) {
    volatile char below[16384];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

int main(void) {
    fill();
    wipe();
    printf("failing %d\n", GCSHIM_AUDIT());
    return globals[0] == NULL || block[0] == NULL;
}
