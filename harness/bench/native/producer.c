// One thread makes all blocks, another frees them all (in the spirit of xmalloc-test): every free is remote.
#include "workload.h"
#include <sched.h>

enum { RING = 4096, BATCH = 64 };

static void *ring[RING];
static _Alignas(64) atomic_ulong made;
static _Alignas(64) atomic_ulong freed;
static unsigned long total;

static void *consume(void *unused) {
    for (unsigned long at = 0; at < total;) {
        unsigned long until = atomic_load_explicit(&made, memory_order_acquire);
        if (until == at) {
            sched_yield();
            continue;
        }
        for (; at < until; at++)
            free(ring[at % RING]);
        atomic_store_explicit(&freed, at, memory_order_release);
    }
    return unused;
}

int main(int argc, char **argv) {
    total = argument(argc, argv, 1, 20000000) / BATCH * BATCH;
    uint64_t seed = 3;
    pthread_t consumer;
    pthread_create(&consumer, NULL, consume, NULL);
    for (unsigned long at = 0; at < total; at += BATCH) {
        while (at + BATCH - atomic_load_explicit(&freed, memory_order_acquire) > RING)
            sched_yield();
        for (unsigned long i = at; i < at + BATCH; i++) {
            char *p = malloc(16 + next_random(&seed) % 200);
            *p = 1;
            ring[i % RING] = p;
        }
        atomic_store_explicit(&made, at + BATCH, memory_order_release);
    }
    pthread_join(consumer, NULL);
    return 0;
}
