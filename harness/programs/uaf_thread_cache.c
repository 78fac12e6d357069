// A pointer that a thread has cached for itself.
//
// The class of CVE-2018-17182 (Linux, the cache of the last mappings): every thread keeps what it found last, a counter says that all of that is out of date, and
// the counter wraps. Here a counter of eight bits over regions, and threads that keep the last region in thread-local storage.
#include "uaf.h"

#include <pthread.h>
#include <stdatomic.h>

struct region {
    unsigned long from, to;
    char label[48];
};

static struct region *_Atomic only_region;
static _Atomic uint8_t generation;

static _Thread_local struct region *cached;
static _Thread_local uint8_t cached_generation;

static struct region *find(unsigned long address) {
    if (cached && cached_generation == generation && address >= cached->from && address < cached->to)
        return cached;
    cached_generation = generation;
    return cached = only_region;
}

static void replace_region(unsigned long from, const char *label) {
    struct region *old = only_region, *fresh = malloc(sizeof *fresh);
    fresh->from = from;
    fresh->to = from + 4096;
    strcpy(fresh->label, label);
    only_region = fresh;
    generation++; // the mistake: after 256 of these the cache of a thread that slept is taken for fresh
    free(old);
}

static pthread_barrier_t turn;
static int intact;

static void *sleeper(void *unused) {
    (void)unused;
    find(4096);
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    intact = !strcmp(cached->label, "the first") && cached->from == 4096 && find(5000) == cached;
    return NULL;
}

int main(void) {
    pthread_t thread;
    replace_region(4096, "the first");
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, sleeper, NULL);
    pthread_barrier_wait(&turn);
    for (int i = 0; i < 256; i++)
        replace_region(1 << 20, "another");
    life_goes_on(sizeof(struct region));
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
    return verdict(intact);
}
