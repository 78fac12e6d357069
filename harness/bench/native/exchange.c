// Threads that each replace blocks in one shared array (in the spirit of mstress): any thread frees any other's.
#include "workload.h"

enum { SLOTS = 40000 };

static _Atomic(char *) slots[SLOTS];
static unsigned long steps;

static void *work(void *number) {
    uint64_t seed = (uint64_t)(uintptr_t)number + 1;
    for (unsigned long i = 0; i < steps; i++) {
        uint64_t r = next_random(&seed);
        char *p = malloc(mixed_size(r >> 17));
        *p = 1;
        free(atomic_exchange_explicit(&slots[r % SLOTS], p, memory_order_acq_rel));
    }
    return NULL;
}

int main(int argc, char **argv) {
    unsigned long threads = argument(argc, argv, 1, 4);
    steps = argument(argc, argv, 2, 3000000);
    pthread_t group[64];
    for (unsigned long i = 0; i < threads; i++)
        pthread_create(&group[i], NULL, work, (void *)i);
    for (unsigned long i = 0; i < threads; i++)
        pthread_join(group[i], NULL);
    return 0;
}
