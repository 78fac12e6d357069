// Pointers in shared memory that the program named (gcshim_roots_add), in collections: shared_roots kept|freed|moving. Prints what it saw.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../include/gcshim.h"

enum { MANY = 1000, SIZE = 200, BYTES = MANY * sizeof(void *) };

// The only words that point to the blocks.
static unsigned char **shared;

static __attribute__((noinline)) void wipe(void) {
    volatile char below[16384];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

static __attribute__((noinline)) void fill(void) {
    for (int i = 0; i < MANY; i++)
        memset(shared[i] = malloc(SIZE), i & 0x3f, SIZE);
}

static int is_whole(const unsigned char *block, int number) {
    for (int i = 0; i < SIZE; i++)
        if (block[i] != (number & 0x3f))
            return 0;
    return 1;
}

static __attribute__((noinline)) int whole(void) {
    int count = 0;
    for (int i = 0; i < MANY; i++)
        count += is_whole(shared[i], i);
    return count;
}

static __attribute__((noinline)) void collect(void) {
    wipe();
    GCSHIM_COLLECT();
    for (int i = 0; i < 2 * MANY; i++)
        memset(malloc(SIZE), 0x77, SIZE);
}

static void look(const char *when) {
    int count = whole();
    printf("%s %s ", when, count == MANY ? "all" : count < MANY / 20 ? "none" : "some");
}

static void kept(int freed) {
    printf("%d ", GCSHIM_ROOTS_ADD(shared, BYTES));
    fill();
    for (int i = 0; freed && i < MANY; i++)
        free(shared[i]);
    collect();
    collect();
    look("named");
    printf("%d ", GCSHIM_ROOTS_REMOVE(shared, BYTES));
    printf("%d ", GCSHIM_ROOTS_REMOVE(shared, BYTES));
    collect();
    look("not named");
    printf("\n");
}

// Pointers go from shared to private memory and back all the time, while collections look at both.
static volatile int done;
static void *volatile large;
static int broken;

static void *move(void *unused) {
    static unsigned char *volatile own[64];
    unsigned random = 7;
    while (!done) {
        for (int i = 0; i < 64; i++) {
            random = random * 1103515245 + 12345;
            unsigned from = (random >> 16) % MANY;
            if (own[i] || !shared[from])
                continue;
            own[i] = shared[from];
            shared[from] = NULL;
            broken += !is_whole(own[i], own[i][0]) || own[i][0] > 0x3f;
        }
        for (int i = 0; i < MANY; i++)
            for (int j = 0; !shared[i] && j < 64; j++)
                if (own[j]) {
                    shared[i] = own[j];
                    own[j] = NULL;
                }
    }
    return unused;
}

static void moving(void) {
    printf("%d ", GCSHIM_ROOTS_ADD(shared, BYTES));
    fill();
    wipe();
    // More than is looked at with the threads standing still.
    large = calloc(48, 1 << 20);
    memset(large, 1, 48 << 20);
    pthread_t mover;
    pthread_create(&mover, NULL, move, NULL);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 4000; i++)
            memset(malloc(SIZE), 0x77, SIZE);
        GCSHIM_COLLECT();
    }
    done = 1;
    pthread_join(mover, NULL);
    int count = 0;
    for (int i = 0; i < MANY; i++)
        count += shared[i] && is_whole(shared[i], shared[i][0]) && shared[i][0] <= 0x3f;
    printf("broken %d left %d\n", broken, count >= MANY - 64);
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!strcmp(what, "kept") || !strcmp(what, "freed"))
        kept(*what == 'f');
    else if (!strcmp(what, "moving"))
        moving();
    else
        return 2;
    return 0;
}
