// What weak words promise (include/gcshim.h), one case a run: weak_words CASE. Prints what it saw.
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../include/gcshim.h"

enum { MANY = 2000 };

struct item {
    struct item *next;
    unsigned long number, check;
    char rest[40];
};

static __attribute__((noinline)) struct item *item(unsigned long number) {
    struct item *i = malloc(sizeof *i);
    *i = (struct item){.number = number, .check = ~number};
    return i;
}

static int is_whole(const struct item *i, unsigned long number) { return i && i->number == number && i->check == ~number; }

static __attribute__((noinline)) void wipe(void) {
    volatile char below[16384];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

// Blocks of the same size, so that one that was reclaimed would be overwritten.
static void churn(int count) {
    for (int i = 0; i < count; i++) {
        struct item *volatile passing = malloc(sizeof *passing);
        memset(passing, 0x77, sizeof *passing);
        free(passing);
    }
}

static void collect(void) {
    wipe();
    GCSHIM_COLLECT();
    churn(1000);
}

// In a global, and in a block that a global points to.
static void *links[MANY];
static void **table;
static struct item *strong[MANY];
static int refused;

static __attribute__((noinline)) void fill(int keep_every) {
    table = calloc(MANY, sizeof *table);
    for (int i = 0; i < MANY; i++) {
        struct item *one = item(i);
        one->next = item(i);
        links[i] = one;
        // Into the middle of what that one leads to.
        table[i] = &one->next->check;
        strong[i] = i % keep_every == 0 ? one : NULL;
        refused += GCSHIM_WEAK_REGISTER(&links[i]) || GCSHIM_WEAK_REGISTER(&table[i]);
    }
}

static __attribute__((noinline)) void count_links(const char *when) {
    int kept = 0, gone = 0, wrong = 0;
    for (int i = 0; i < MANY; i++) {
        struct item *one = GCSHIM_WEAK_GET(&links[i]);
        unsigned long *check = GCSHIM_WEAK_GET(&table[i]);
        kept += one && check;
        gone += !one && !check;
        wrong += !one != !check || (one && !is_whole(one, i)) || (check && *check != ~(unsigned long)i) || (strong[i] && !one);
    }
    // A stale word may keep one or the other.
    const char *how_many[] = {"none", "half", "all"};
    printf("%s: kept %s gone %s wrong %d\n", when, how_many[(kept + MANY / 2 - 20) / (MANY / 2)], how_many[(gone + 20) / (MANY / 2)], wrong);
}

static void case_lost(void) {
    fill(2);
    collect();
    count_links("half are held");
    memset(strong, 0, sizeof strong);
    collect();
    collect();
    count_links("none is held");
}

// ---- free ----

static void case_free(void) {
    fill(1);
    for (int i = 0; i < MANY; i++) {
        struct item *one = strong[i];
        strong[i] = NULL;
        free(one->next);
        free(one);
    }
    count_links("freed");
    churn(1000);
    collect();
    count_links("after a collection");
    printf("left %d\n", GCSHIM_WEAK_UNREGISTER(&links[0]));
}

// ---- asking keeps ----

static struct item *asked;

static __attribute__((noinline)) void one_link(int number) {
    links[0] = item(number);
    printf("%d ", GCSHIM_WEAK_REGISTER(&links[0]));
}

static __attribute__((noinline)) void ask(void) { asked = GCSHIM_WEAK_GET(&links[0]); }

static void case_asked(void) {
    one_link(5);
    ask();
    for (int i = 0; i < 3; i++)
        collect();
    printf("held %d ", is_whole(asked, 5) && links[0] == asked);
    asked = NULL;
    collect();
    ask();
    printf("let go %d\n", asked == NULL);
}

// ---- words that are weak no more ----

static __attribute__((noinline)) void change(void) { links[0] = item(6); }

static void case_changed(void) {
    one_link(5);
    change();
    collect();
    collect();
    printf("changed %d ", is_whole(links[0], 6));
    printf("%d ", GCSHIM_WEAK_REGISTER(&links[0]));
    printf("%d ", GCSHIM_WEAK_UNREGISTER(&links[0]));
    collect();
    printf("unregistered %d ", is_whole(links[0], 6));
    printf("%d ", GCSHIM_WEAK_REGISTER(&links[0]));
    collect();
    printf("again %d\n", links[0] == NULL);
}

// What only weak words point to is lost to an audit too.
static void case_audit(void) {
    one_link(5);
    wipe();
    int weak = GCSHIM_AUDIT();
    GCSHIM_WEAK_UNREGISTER(&links[0]);
    wipe();
    printf("weak %d strong %d\n", weak, GCSHIM_AUDIT());
}

// A link in a block that is freed: whoever has the memory next has a word of its own there.
static void case_inside(void) {
    struct item *referent = item(9);
    enum { PLACES = 500 };
    struct item *volatile places[PLACES];
    for (int i = 0; i < PLACES; i++) {
        places[i] = item(i);
        places[i]->next = referent;
        refused += GCSHIM_WEAK_REGISTER(&places[i]->next) != 0;
    }
    for (int i = 0; i < PLACES; i++)
        free(places[i]);
    collect();
    for (int i = 0; i < PLACES; i++) {
        places[i] = item(i);
        places[i]->next = referent;
    }
    free(referent);
    int kept = 0;
    for (int i = 0; i < PLACES; i++)
        kept += places[i]->next == referent;
    printf("kept %d\n", kept);
}

static void case_realloc(void) {
    struct item *one = item(3);
    links[0] = &one->check;
    printf("%d ", GCSHIM_WEAK_REGISTER(&links[0]));
    struct item *moved = realloc(one, 4000);
    printf("moved %d follows %d ", (void *)moved != (char *)links[0] - offsetof(struct item, check) ? -1 : 1, *(unsigned long *)links[0] == ~3ul);
    free(moved);
    printf("gone %d\n", links[0] == NULL);
}

static void case_refused(void) {
    void **shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void **private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct item *one = item(1);
    void *here[2] = {one, NULL};
    *shared = *private = one;
    printf("%d %d %d %d %d\n", GCSHIM_WEAK_REGISTER(shared), GCSHIM_WEAK_REGISTER(private), GCSHIM_WEAK_REGISTER(&here[0]), GCSHIM_WEAK_REGISTER(&here[1]),
           GCSHIM_WEAK_REGISTER((char *)here + 4));
    free(one);
    printf("%d %d %d\n", *shared == NULL, *private == NULL, here[0] == NULL);
}

// ---- links and finalizers: first the links ----

static int found_empty = -1;

static void look(void *block, void *argument) {
    struct item *one = block;
    (void)argument;
    found_empty = GCSHIM_WEAK_GET(&links[0]) == NULL && GCSHIM_WEAK_GET(&links[1]) == NULL && is_whole(one, 4) && is_whole(one->next, 4);
}

static __attribute__((noinline)) void with_finalizer(void) {
    struct item *one = item(4);
    one->next = item(4);
    links[0] = one, links[1] = one->next;
    printf("%d %d %d ", GCSHIM_WEAK_REGISTER(&links[0]), GCSHIM_WEAK_REGISTER(&links[1]), GCSHIM_FINALIZER_SET(one, look, NULL));
}

static void case_finalizer(void) {
    with_finalizer();
    collect();
    printf("empty %d\n", found_empty);
}

// ---- asked for while a collection is under way that began when nobody held it ----

static __attribute__((noinline)) void allocate(int mib) {
    for (int i = 0; i < mib * 1024; i++)
        memset(malloc(1000), 0x77, 1000);
    wipe();
}

static void case_overtaken(void) {
    int emptied = 0, taken = 0;
    for (int round = 0; round < 400; round++) {
        if (!GCSHIM_WEAK_GET(&links[0])) {
            emptied++;
            links[0] = item(7);
            refused += GCSHIM_WEAK_REGISTER(&links[0]) != 0;
        }
        wipe();
        allocate(round % 7 + 1);
        ask();
        wipe();
        allocate(round % 5 + 1);
        taken += asked && (links[0] != asked || !is_whole(asked, 7));
        asked = NULL;
    }
    printf("emptied %d taken %d\n", emptied > 1, taken);
}

// ---- a cache of weak words that threads ask all the time while collections come by themselves ----

enum { THREADS = 3, CACHE = 256, ROUNDS = 400 };
static void *cache[CACHE];
static pthread_mutex_t locks[CACHE];
static int made, found, broken;

static struct item *from_cache(unsigned n) {
    pthread_mutex_lock(&locks[n]);
    struct item *one = GCSHIM_WEAK_GET(&cache[n]);
    if (one) {
        __atomic_fetch_add(&found, 1, __ATOMIC_RELAXED);
    } else {
        one = item(n);
        one->next = item(n);
        cache[n] = one;
        if (GCSHIM_WEAK_REGISTER(&cache[n]))
            __atomic_fetch_add(&refused, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&locks[n]);
    return one;
}

static void *use_cache(void *seed) {
    unsigned random = (unsigned)(uintptr_t)seed;
    struct item *held[16] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 200; i++) {
            random = random * 1103515245 + 12345;
            unsigned n = random >> 16 & (CACHE - 1);
            struct item *one = from_cache(n);
            if (!is_whole(one, n) || !is_whole(one->next, n))
                __atomic_fetch_add(&broken, 1, __ATOMIC_RELAXED);
            held[i & 15] = one;
        }
        for (int i = 0; i < 16; i++)
            if (!is_whole(held[i], held[i]->number) || !is_whole(held[i]->next, held[i]->number))
                __atomic_fetch_add(&broken, 1, __ATOMIC_RELAXED);
        // A megabyte that is never freed.
        for (int i = 0; i < 1000; i++)
            memset(malloc(1000), 0x77, 1000);
        churn(100);
        if (round % 32 == 31)
            GCSHIM_COLLECT();
    }
    return NULL;
}

static void case_threads(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < CACHE; i++)
        pthread_mutex_init(&locks[i], NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, use_cache, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("found %d emptied %d broken %d\n", found > made, made > CACHE, broken);
}

static const struct { const char *name; void (*run)(void); } CASES[] = {
    {"lost", case_lost}, {"free", case_free}, {"asked", case_asked}, {"changed", case_changed}, {"audit", case_audit}, {"inside", case_inside}, {"realloc", case_realloc},
    {"refused", case_refused}, {"finalizer", case_finalizer}, {"overtaken", case_overtaken}, {"threads", case_threads},
};

int main(int count, char **arguments) {
    for (size_t i = 0; count > 1 && i < sizeof CASES / sizeof *CASES; i++)
        if (!strcmp(CASES[i].name, arguments[1]))
            return CASES[i].run(), refused ? printf("refused %d\n", refused) : 0;
    return 2;
}
