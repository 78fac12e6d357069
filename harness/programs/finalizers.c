// What finalizers promise (include/gcshim.h), one case a run: finalizers CASE. Prints what it saw.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/gcshim.h"

#define MAGIC 0x6b1dul

struct node {
    struct node *first, *second;
    unsigned long number, magic;
};

// Numbers of blocks in the order in which their finalizers were called. In no block that is reached, and no pointers.
static unsigned long order[1 << 16];
static int called;

static struct node *node(unsigned long number) {
    struct node *n = malloc(sizeof *n);
    *n = (struct node){.number = number, .magic = MAGIC};
    return n;
}

static void note(void *block, void *argument) {
    struct node *n = block;
    (void)argument;
    int at = __atomic_fetch_add(&called, 1, __ATOMIC_RELAXED);
    order[at] = n->magic == MAGIC ? n->number : ~0ul;
}

// No pointer stays below the stack of the caller, or in a register.
static __attribute__((noinline)) void wipe(void) {
    volatile char below[16384];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

#define LOST(...)                                                                                                                \
    do {                                                                                                                         \
        __VA_ARGS__;                                                                                                             \
        wipe();                                                                                                                  \
    } while (0)

static int place_of(unsigned long number) {
    int found = -1, times = 0;
    for (int i = 0; i < called; i++)
        if (order[i] == number)
            found = i, times++;
    return times == 1 ? found : -1;
}

// Blocks of the same size, so that one that was reclaimed would be overwritten.
static void churn(void) {
    for (int i = 0; i < 100000; i++) {
        char *volatile block = malloc(sizeof(struct node));
        memset(block, 0x77, sizeof(struct node));
        free(block);
    }
}

// ---- order ----

enum { CHAINS = 40, LENGTH = 30 };

// Chains whose nodes were allocated in a scrambled order; every second one hangs by a block without a finalizer.
static __attribute__((noinline)) void make_chains(void) {
    for (int c = 0; c < CHAINS; c++) {
        struct node *nodes[LENGTH];
        for (int i = 0; i < LENGTH; i++)
            nodes[i * 7 % LENGTH] = node(1000 * c + i * 7 % LENGTH);
        for (int i = 0; i + 1 < LENGTH; i++) {
            struct node *between = i % 2 ? malloc(sizeof *between) : NULL;
            if (between)
                *between = (struct node){.second = nodes[i + 1]};
            // A shortcut too: of two ways the longer one counts.
            nodes[i]->first = between ? between : nodes[i + 1];
            nodes[i]->second = i + 2 < LENGTH ? nodes[i + 2] : NULL;
        }
        for (int i = 0; i < LENGTH; i++)
            gcshim_finalizer_set(nodes[(i * 11 + 5) % LENGTH], note, NULL);
    }
}

static void case_order(void) {
    LOST(make_chains());
    gcshim_collect();
    int wrong = 0, missing = 0;
    for (int c = 0; c < CHAINS; c++)
        for (int i = 0; i < LENGTH; i++) {
            missing += place_of(1000 * c + i) < 0;
            wrong += i > 0 && place_of(1000 * c + i - 1) > place_of(1000 * c + i);
        }
    // A stale word on the stack may keep a chain.
    printf("missing %s wrong %d\n", missing <= LENGTH ? "none" : "some", wrong);
}

// ---- a cycle ----

static __attribute__((noinline)) void make_cycle(void) {
    struct node *a = node(1), *b = node(2), *c = node(3), *before = node(4), *behind = node(5);
    a->first = b, b->first = c, c->first = a, before->first = b, c->second = behind;
    struct node *all[] = {behind, a, c, b, before};
    for (int i = 0; i < 5; i++)
        gcshim_finalizer_set(all[i], note, NULL);
}

static void case_cycle(void) {
    LOST(make_cycle());
    gcshim_collect();
    int first = place_of(4), last = place_of(5);
    printf("called %d first %d last %d\n", called, first, last);
}

// ---- once ----

static __attribute__((noinline)) void make_many(int from, int count) {
    for (int i = 0; i < count; i++)
        gcshim_finalizer_set(node(from + i), note, NULL);
}

static void case_once(void) {
    LOST(make_many(0, 5000));
    for (int i = 0; i < 4; i++) {
        gcshim_collect();
        gcshim_finalizers_run();
    }
    int twice = 0;
    static unsigned char seen[5000];
    for (int i = 0; i < called; i++)
        twice += order[i] >= 5000 || seen[order[i]]++;
    printf("most %s twice %d resurrected %s\n", called > 4990 ? "called" : "not called", twice, gcshim_resurrected() < 10 ? "none" : "some");
}

// ---- resurrection ----

static struct node *risen;

static void rise(void *block, void *argument) {
    note(block, argument);
    risen = block;
}

static __attribute__((noinline)) void make_riser(void) {
    struct node *n = node(7);
    n->first = node(8);
    gcshim_finalizer_set(n, rise, NULL);
    gcshim_finalizer_set(n->first, note, NULL);
}

static __attribute__((noinline)) int is_whole(void) {
    return risen && risen->magic == MAGIC && risen->number == 7 && risen->first->magic == MAGIC && risen->first->number == 8;
}

static void case_resurrection(void) {
    LOST(make_riser());
    gcshim_collect();
    churn();
    // Its child's finalizer was called too: it was lost when the collection looked.
    printf("called %d whole %d resurrected %ld\n", called, is_whole(), gcshim_resurrected());
    gcshim_collect();
    churn();
    printf("called %d whole %d resurrected %ld\n", called, is_whole(), gcshim_resurrected());
    printf("set again %d\n", gcshim_finalizer_set(risen, note, NULL));
    LOST(risen = NULL);
    gcshim_collect();
    printf("called %d resurrected %ld\n", called, gcshim_resurrected());
}

// ---- what a finalizer may do ----

static char *of_another;

static void busy(void *block, void *argument) {
    note(block, argument);
    struct node *n = block;
    for (int i = 0; i < 1000; i++) {
        char *volatile passing = malloc(i);
        if (i % 2)
            free(passing);
    }
    free(n->second);
    make_many(100 * n->number, 1);
    wipe();
    free(of_another);
    of_another = NULL;
    printf("in a finalizer: run %ld\n", gcshim_finalizers_run());
    gcshim_collect();
    printf("whole %d\n", n->magic == MAGIC && n->first->magic == MAGIC && ((struct node *)argument)->magic == MAGIC);
    free(n);
}

static __attribute__((noinline)) void make_busy(void) {
    struct node *n = node(1);
    n->first = node(2);
    n->second = node(3);
    of_another = malloc(64);
    gcshim_finalizer_set(n, busy, node(4));
}

static void case_busy(void) {
    LOST(make_busy());
    gcshim_collect();
    printf("called %d\n", called);
    gcshim_collect();
    printf("called %d last %ld\n", called, (long)order[called - 1]);
}

// ---- free, realloc, removal ----

static __attribute__((noinline)) void free_some(void) {
    struct node *volatile nodes[500];
    for (int i = 0; i < 500; i++)
        gcshim_finalizer_set(nodes[i] = node(i), note, NULL);
    for (int i = 0; i < 500; i++)
        free(nodes[i]);
}

static __attribute__((noinline)) void lose_some(void) {
    for (int i = 0; i < 1000; i++)
        node(i);
}

// Nor has the block that follows at the same place one.
static void case_free(void) {
    LOST(free_some());
    gcshim_collect();
    LOST(lose_some());
    gcshim_collect();
    gcshim_collect();
    printf("called %d\n", called);
}

// ---- the argument ----

static struct node *volatile with_argument;

static void check_argument(void *block, void *argument) {
    note(block, argument);
    struct node *n = argument;
    printf("argument %d ", n->magic == MAGIC && n->number == 4 && n->first->number == 5);
}

static __attribute__((noinline)) void make_argument(void) {
    struct node *argument = node(4);
    argument->first = node(5);
    with_argument = node(1);
    gcshim_finalizer_set(with_argument, check_argument, argument);
}

static void case_argument(void) {
    LOST(make_argument());
    for (int i = 0; i < 3; i++) {
        gcshim_collect();
        for (int j = 0; j < 10000; j++)
            memset(malloc(sizeof(struct node)), 0x77, sizeof(struct node));
        wipe();
    }
    printf("called %d ", called);
    with_argument = NULL;
    wipe();
    gcshim_collect();
    printf("called %d\n", called);
}

static __attribute__((noinline)) void make_moved(size_t from, size_t to) {
    struct node *n = malloc(from);
    *n = (struct node){.number = from, .magic = MAGIC};
    gcshim_finalizer_set(n, note, NULL);
    struct node *moved = realloc(n, to);
    if (moved == n)
        printf("did not move\n");
}

static void case_realloc(void) {
    LOST(make_moved(100, 5000));
    LOST(make_moved(40 << 20, 80 << 20));
    LOST(make_moved(40 << 20, 1000));
    gcshim_collect();
    printf("called %d: %ld %ld\n", called, (long)order[0] + (long)order[1] + (long)order[2], (long)GCSHIM_RESURRECTED());
}

static void case_removal(void) {
    struct node *volatile n = node(1);
    printf("%d", gcshim_finalizer_set(n, NULL, NULL));
    printf(" %d", gcshim_finalizer_set(n, rise, NULL));
    printf(" %d", gcshim_finalizer_set(n, note, NULL));
    printf(" %d", gcshim_finalizer_set(n, NULL, NULL));
    printf(" %d %d %d\n", gcshim_finalizer_set((char *)n + 8, note, NULL), gcshim_finalizer_set(&called, note, NULL), gcshim_finalizer_set(NULL, note, NULL));
    n = NULL;
    wipe();
    gcshim_collect();
    printf("called %d\n", called);
}

// ---- threads ----

enum { THREADS = 4, EACH = 4000 };
static int inside, at_once;

static void alone(void *block, void *argument) {
    at_once += __atomic_fetch_add(&inside, 1, __ATOMIC_ACQ_REL) != 0;
    note(block, argument);
    if (called % 16 == 0)
        sched_yield();
    __atomic_fetch_sub(&inside, 1, __ATOMIC_ACQ_REL);
}

static void *drop_many(void *from) {
    for (int i = 0; i < EACH; i += 100) {
        for (int j = 0; j < 100; j++)
            gcshim_finalizer_set(node((int)(intptr_t)from + i + j), alone, NULL);
        if (i % 500 == 0)
            gcshim_collect();
        gcshim_finalizers_run();
    }
    wipe();
    return NULL;
}

static void case_threads(void) {
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, drop_many, (void *)(i * EACH));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    gcshim_collect();
    gcshim_collect();
    static unsigned char seen[THREADS * EACH];
    int twice = 0;
    for (int i = 0; i < called; i++)
        twice += order[i] >= THREADS * EACH || seen[order[i]]++;
    printf("most %s twice %d at once %d\n", called > THREADS * EACH - 100 ? "called" : "not called", twice, at_once);
}

// ---- kept until it has run ----

static __attribute__((noinline)) void make_deep(int count) {
    for (int i = 0; i < count; i++) {
        struct node *n = node(i);
        n->first = node(i);
        gcshim_finalizer_set(n, note, NULL);
    }
}

// Found by a collection that the program did not ask for, or a sweep after it: what waits is not reused, nor what it leads to.
static void case_waiting(void) {
    LOST(make_deep(1000));
    int asked = 0;
    for (int i = 0; i < 4000 && called < 900; i++) {
        // 64 MB that are never freed: collections come by themselves.
        for (int j = 0; j < 1000; j++) {
            char *volatile block = malloc(512);
            memset(block, 0x77, 512);
        }
        churn();
        if (i % 50 == 49)
            asked++, gcshim_finalizers_run();
    }
    int broken = 0;
    for (int i = 0; i < called; i++)
        broken += order[i] >= 1000;
    printf("most %s broken %d\n", called >= 900 ? "called" : "not called", broken);
}

// ---- a mode without finalizers, or no shim ----

static void case_elsewhere(void) {
    struct node *volatile n = node(1);
    int answer = GCSHIM_FINALIZER_SET(n, note, NULL);
    n = NULL;
    wipe();
    GCSHIM_COLLECT();
    printf("%d run %ld called %d\n", answer, (long)GCSHIM_FINALIZERS_RUN(), called);
}

static const struct { const char *name; void (*run)(void); } CASES[] = {
    {"order", case_order}, {"cycle", case_cycle}, {"once", case_once}, {"resurrection", case_resurrection}, {"busy", case_busy}, {"free", case_free}, {"argument", case_argument},
    {"realloc", case_realloc}, {"removal", case_removal}, {"threads", case_threads}, {"waiting", case_waiting}, {"elsewhere", case_elsewhere},
};

int main(int count, char **arguments) {
    for (size_t i = 0; count > 1 && i < sizeof CASES / sizeof *CASES; i++)
        if (!strcmp(CASES[i].name, arguments[1]))
            return CASES[i].run(), 0;
    return 2;
}
