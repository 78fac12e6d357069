// Threads allocate and free; one of them at a time is stopped by a signal wherever it is, for good or until the others have gone on: none waits for it.
//
// Prints how many rounds the others did while somebody stood still, and ends with a thread that still does.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, STOPS = 200, ROUNDS = 300 };

static atomic_int turn, standing, resumed;
static atomic_long rounds[THREADS];

static void stand_still(int signal) {
    (void)signal;
    int mine = atomic_load(&turn);
    atomic_store(&standing, mine);
    while (atomic_load(&resumed) < mine) usleep(100);
}

static void *churn(void *argument) {
    atomic_long *mine = argument;
    for (;;) {
        // Few blocks at a time, and always the same sizes: no slab comes or goes, for which there is a lock.
        void *blocks[8];
        for (int i = 0; i < 8; i++) blocks[i] = malloc(48 + 64 * i);
        for (int i = 0; i < 8; i++) free(blocks[i]);
        atomic_fetch_add(mine, 1);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_handler = stand_still};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, churn, &rounds[i]);
    for (int i = 0; i < THREADS; i++) {
        while (atomic_load(&rounds[i]) < ROUNDS) usleep(100);
    }
    long least = 1 << 30;
    for (int stop = 0; stop < STOPS; stop++) {
        int stopped = stop % THREADS;
        atomic_store(&turn, stop + 1);
        pthread_kill(threads[stopped], SIGUSR1);
        while (atomic_load(&standing) != stop + 1) usleep(10);
        for (int i = 0; i < THREADS; i++) {
            long before = atomic_load(&rounds[i]);
            // Without an end if it waits.
            while (i != stopped && atomic_load(&rounds[i]) < before + ROUNDS) usleep(10);
            long did = atomic_load(&rounds[i]) - before;
            if (i != stopped && did < least) least = did;
        }
        if (stop + 1 < STOPS) atomic_store(&resumed, stop + 1);
    }
    printf("%ld\n", least);
    fflush(stdout);
    return 0;
}
