// Keeps blocks by nothing but the address behind their last byte, as PHP keeps the types of functions without arguments. Each is still there after a collection, with what was
// written to it, and is freed once.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/gcshim.h"

enum { BLOCKS = 500 };

static char *behind[BLOCKS];

static size_t bytes_of(int i) {
    static const size_t sizes[] = {16, 32, 48, 256, 1024, 4096, 65536, 131072};
    return sizes[i % 8];
}

static __attribute__((noinline)) void make(void) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t bytes = bytes_of(i);
        // Each way to a block.
        char *block = i % 3 == 0 ? malloc(bytes) : i % 3 == 1 ? calloc(1, bytes) : realloc(malloc(bytes / 2), bytes);
        memset(block, i, bytes);
        behind[i] = block + bytes;
    }
}

// What the calls before left on the stack.
static __attribute__((noinline)) void wipe(void) {
    volatile char scrap[32 * 1024];
    for (size_t i = 0; i < sizeof scrap; i++)
        scrap[i] = 0;
}

int main(void) {
    make();
    wipe();
    // What is due for collection is not these alone.
    for (int i = 0; i < 1000; i++)
        *(volatile char *)malloc(1000) = 1;
    long collected = GCSHIM_COLLECT();
    int wrong = 0;
    for (int i = 0; i < BLOCKS; i++) {
        char *block = behind[i] - bytes_of(i);
        for (size_t at = 0; at < bytes_of(i); at++)
            wrong += block[at] != (char)i;
        free(block);
    }
    printf("wrong %d collected %s\n", wrong, collected >= 0 ? "yes" : "no");
    return 0;
}
