// One misuse of the heap, chosen by name. The block concerned is printed first, so that the test knows the line to expect.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void announce(const void *p) {
    printf("%p\n", p);
    fflush(stdout);
}

static void *free_it(void *p) {
    free(p);
    return NULL;
}

static void on_another_thread(void *p) {
    pthread_t thread;
    pthread_create(&thread, NULL, free_it, p);
    pthread_join(thread, NULL);
}

// Several blocks of one size, so that their slab is not the first thing to go.
static char *blocks[8];

static void make_blocks(size_t size) {
    for (int i = 0; i < 8; i++)
        blocks[i] = malloc(size);
}

int main(int argc, char **argv) {
    const char *misuse = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    make_blocks(48);
    char *volatile p = blocks[3];
    if (!strcmp(misuse, "double-free")) {
        announce(p);
        free(p);
        free(p);
    } else if (!strcmp(misuse, "double-free-later")) {
        announce(p);
        free(p);
        free(blocks[4]);
        free(blocks[5]);
        free(p);
    } else if (!strcmp(misuse, "double-free-remote")) {
        announce(p);
        on_another_thread(p);
        free(p);
    } else if (!strcmp(misuse, "double-free-by-another")) {
        announce(p);
        free(p);
        on_another_thread(p);
    } else if (!strcmp(misuse, "double-free-large")) {
        p = malloc(200000);
        announce(p);
        free(p);
        free(p);
    } else if (!strcmp(misuse, "interior")) {
        announce(p);
        free(p + 16);
    } else if (!strcmp(misuse, "interior-unaligned")) {
        announce(p);
        free(p + 1);
    } else if (!strcmp(misuse, "interior-remote")) {
        announce(p);
        on_another_thread(p + 16);
    } else if (!strcmp(misuse, "interior-large")) {
        p = malloc(200000);
        announce(p);
        free(p + 4096);
    } else if (!strcmp(misuse, "never-allocated")) {
        // Blocks of 8 KiB are handed out two by two: the one after the next two has never been.
        make_blocks(0);
        p = malloc(8192);
        p += 8192 * 3;
        announce(p);
        free(p);
    } else if (!strcmp(misuse, "realloc-after-free")) {
        announce(p);
        free(p);
        p = realloc(p, 100);
    } else {
        return 2;
    }
    return 3;
}
