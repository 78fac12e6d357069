// Two functions free blocks that global variables go on pointing to. Then audits.
#include <stdio.h>
#include <stdlib.h>

#include "../../include/gcshim.h"

enum { BYTES = 1237 };

// Not known to the compiler, so that the calls below stay one each.
static volatile int count = 3;

static char *kept[3];

static __attribute__((noinline)) char *made_here(void) {
    char *block = malloc(BYTES);
    block[0] = 1;
    return block;
}

__attribute__((noinline)) static void freed_by_the_first(void) {
    free(kept[0]);
    __asm__ volatile("" : : : "memory");
}

__attribute__((noinline)) static void freed_by_the_second(int i) {
    free(kept[i]);
    __asm__ volatile("" : : : "memory");
}

int main(void) {
    for (int i = 0; i < count; i++)
        kept[i] = made_here();
    freed_by_the_first();
    for (int i = 1; i < count; i++)
        freed_by_the_second(i);
    printf("failing %d\n", GCSHIM_AUDIT());
    return kept[0] == NULL;
}
