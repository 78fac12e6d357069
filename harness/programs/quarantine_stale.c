// A stale pointer in a global variable, much churn of the same size, and a look at what it points to. Then the pointer goes, and the block may be reused.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/gcshim.h"

enum { SIZE = 48, TEXT = 24 };

static char *volatile stale;
// The address in disguise: no word of it may count.
static uintptr_t disguised;

__attribute__((noinline)) static int churn(int rounds) {
    int reused = 0;
    for (int i = 0; i < rounds; i++) {
        char *p = malloc(SIZE);
        reused |= (uintptr_t)p == ~disguised;
        memset(p, 'x', SIZE);
        free(p);
    }
    return reused;
}

__attribute__((noinline)) static void set_up(void) {
    stale = malloc(SIZE);
    strcpy(stale, "what was there before");
    disguised = ~(uintptr_t)stale;
    free(stale);
}

// Overwrites what earlier calls left on the stack.
__attribute__((noinline)) static void scrub(void) {
    volatile char area[8192];
    for (size_t i = 0; i < sizeof area; i++)
        area[i] = 1;
}

int main(void) {
    set_up();
    scrub();
    int rounds = 4000000;
    int early = churn(rounds);
    printf("%s\n", strcmp(stale, "what was there before") ? "overwritten" : "intact");
    printf("%s\n", early ? "reused while pointed to" : "kept");
    stale = NULL;
    scrub();
    long first = GCSHIM_COLLECT();
    int late = churn(rounds);
    printf("%s\n", late ? "reused after" : "never reused");
    return first < -1;
}
