// Blocks that outlive their thread (in the spirit of Larson and Krishnan 1998): each thread replaces blocks at random in an array, then hands the
// array to a thread that it starts and ends.
#include "workload.h"

enum { SLOTS = 5000 };

// Written to with every step, so each has its lines to itself: else what is measured is whether an allocator happens to put the two into one.
struct task {
    _Alignas(128) char **blocks;
    uint64_t seed;
    unsigned long generations, steps;
    atomic_int *left;
};

static void *work(void *argument) {
    struct task *t = argument;
    for (unsigned long i = 0; i < t->steps; i++) {
        uint64_t r = next_random(&t->seed);
        char **slot = &t->blocks[r % SLOTS];
        free(*slot);
        *slot = malloc(8 + (r >> 32) % 1000);
        (*slot)[0] = 1;
    }
    if (t->generations-- > 1) {
        pthread_t heir;
        pthread_create(&heir, NULL, work, t);
        pthread_detach(heir);
    } else {
        atomic_fetch_sub(t->left, 1);
    }
    return NULL;
}

int main(int argc, char **argv) {
    unsigned long threads = argument(argc, argv, 1, 2), generations = argument(argc, argv, 2, 300);
    atomic_int left = (int)threads;
    for (unsigned long i = 0; i < threads; i++) {
        struct task *t = aligned_alloc(_Alignof(struct task), sizeof *t);
        *t = (struct task){calloc(SLOTS, sizeof(char *)), i + 1, generations, 30000, &left};
        pthread_t thread;
        pthread_create(&thread, NULL, work, t);
        pthread_detach(thread);
    }
    struct timespec pause = {0, 1000000};
    while (atomic_load(&left))
        nanosleep(&pause, NULL);
    return 0;
}
