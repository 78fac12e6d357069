// What a program writes into blocks that are free  changes nothing about what it is given later: each block is its own, of its size,
// and no free is refused.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 20000 };

static char *blocks[COUNT];

static int compare(const void *a, const void *b) {
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

// Frees every third block.
static void *free_some(void *from) {
    for (size_t i = (size_t)from; i < COUNT; i += 3)
        free(blocks[i]);
    return NULL;
}

int main(void) {
    for (size_t size = 16; size <= 4096; size *= 2) {
        for (int i = 0; i < COUNT; i++)
            blocks[i] = malloc(size);
        free_some((void *)0);
        pthread_t thread;
        pthread_create(&thread, NULL, free_some, (void *)1);
        pthread_join(thread, NULL);
        // Every byte of each free block, of those freed here and of those freed by another thread.
        for (int i = 0; i < COUNT; i++)
            if (i % 3 < 2)
                memset(blocks[i], 'A' + i % 7, size);
        for (int i = 0; i < COUNT; i++)
            if (i % 3 < 2)
                blocks[i] = malloc(size);
        qsort(blocks, COUNT, sizeof *blocks, compare);
        for (int i = 0; i + 1 < COUNT; i++)
            if (blocks[i] + size > blocks[i + 1])
                return 1;
        for (int i = 0; i < COUNT; i++)
            free(blocks[i]);
    }
    return 0;
}
