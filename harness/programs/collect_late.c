// Blocks whose addresses nobody can read when a full collection looks, and that the program finds again before it ends: a second thread takes the disguise off as soon as there is
// a snapshot's child. What a collection thought lost has to be as it was, and can be asked for its size, moved and freed like any other.
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../../include/gcshim.h"

enum { BLOCKS = 12, NODES = 400000 };

static uintptr_t disguised[BLOCKS];
static char *volatile found[BLOCKS];
static struct node {
    struct node *next;
    char text[112];
} *volatile nodes;

static size_t bytes_of(int i) {
    static const size_t sizes[] = {64, 4096, 200 << 10, 3 << 20, 12 << 20, 40 << 20};
    return sizes[i % 6];
}

static int child_runs(void) {
    siginfo_t info = {.si_pid = 0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid == 0;
}

static __attribute__((noinline)) void make(void) {
    // So much to read that the child takes its time.
    for (int i = 0; i < NODES; i++) {
        struct node *node = malloc(sizeof *node);
        node->next = nodes;
        nodes = node;
    }
    for (int i = 0; i < BLOCKS; i++) {
        char *block = malloc(bytes_of(i));
        memset(block, i + 1, bytes_of(i));
        found[i] = block;
    }
    // Then no collection is under way, and soon no child is either.
    GCSHIM_COLLECT();
    while (child_runs())
        ;
    for (int i = 0; i < BLOCKS; i++) {
        disguised[i] = ~(uintptr_t)found[i];
        found[i] = NULL;
    }
}

// What the calls before left on the stack.
static __attribute__((noinline)) void wipe(void) {
    volatile char scrap[64 * 1024];
    for (size_t i = 0; i < sizeof scrap; i++)
        scrap[i] = 0;
}

static void *find_again(void *unused) {
    while (!child_runs())
        ;
    for (int i = 0; i < BLOCKS; i++)
        found[i] = (char *)~disguised[i];
    return unused;
}

int main(void) {
    make();
    wipe();
    pthread_t thread;
    pthread_create(&thread, NULL, find_again, NULL);
    long collected = GCSHIM_COLLECT();
    pthread_join(thread, NULL);
    long wrong = 0;
    for (int i = 0; i < BLOCKS; i++) {
        size_t bytes = bytes_of(i);
        char *block = found[i];
        if (i % 3 == 1)
            wrong += malloc_usable_size(block) < bytes;
        if (i % 3 == 2)
            block = realloc(block, bytes * 2);
        for (size_t at = 0; at < bytes; at++)
            wrong += block[at] != i + 1;
        free(block);
    }
    printf("wrong %ld collected %s\n", wrong, collected >= 0 ? "yes" : "no");
    return 0;
}
