// What one thread has freed serves every other, whether the thread that made it, or the one that freed it, runs or not. Prints the resident size in MiB: with all blocks of the first thread;
// after the main thread has freed every second one and a third has made as many; and after all have been freed and blocks of another size stand in their place.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resident.h"

enum { BLOCKS = 80000, OWN = 4000, BYTES = 500 };

static char *own[OWN], *first[BLOCKS], *third[BLOCKS / 2], *other[BLOCKS / 4];
static pthread_barrier_t filled, done;

static void *fill_and_wait(void *unused) {
    for (int i = 0; i < BLOCKS; i++)
        memset(first[i] = malloc(BYTES), 1, BYTES);
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&done);
    return unused;
}

static void *fill_the_gaps(void *unused) {
    for (int i = 0; i < BLOCKS / 2; i++)
        memset(third[i] = malloc(BYTES), 1, BYTES);
    return unused;
}

int main(void) {
    pthread_barrier_init(&filled, NULL, 2);
    pthread_barrier_init(&done, NULL, 2);
    // So many slabs half full that the main thread needs none of the others'.
    for (int i = 0; i < OWN; i++)
        own[i] = malloc(BYTES);
    for (int i = 0; i < OWN; i += 2)
        free(own[i]);
    pthread_t maker, taker;
    pthread_create(&maker, NULL, fill_and_wait, NULL);
    pthread_barrier_wait(&filled);
    long full = resident_kib() >> 10;
    for (int i = 0; i < BLOCKS; i += 2)
        free(first[i]);
    pthread_create(&taker, NULL, fill_the_gaps, NULL);
    pthread_join(taker, NULL);
    long filled_again = resident_kib() >> 10;
    for (int i = 1; i < BLOCKS; i += 2)
        free(first[i]);
    for (int i = 0; i < BLOCKS / 2; i++)
        free(third[i]);
    for (int i = 0; i < BLOCKS / 4; i++)
        memset(other[i] = malloc(4 * BYTES), 1, 4 * BYTES);
    printf("%ld %ld %ld\n", full, filled_again, resident_kib() >> 10);
    pthread_barrier_wait(&done);
    pthread_join(maker, NULL);
    return 0;
}
