// Blocks with known lifetimes in bytes. Nothing else is allocated between the first line and the last.
//
// histogram_known            then exit
// histogram_known _exit      ends by _exit
// histogram_known exec       becomes /bin/true
// histogram_known fork       the child does the same and ends by _exit
// histogram_known vfork      so does a child that shares its memory, but for doing nothing
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 1000, LARGE = 200 << 10 };

static void *blocks[N];

static void known_lifetimes(void) {
    // 1,000 times, a block of 48 bytes lives for 80 bytes.
    for (int i = 0; i < N; i++) {
        void *block = malloc(48);
        void *other = malloc(80);
        free(block);
        free(other); // lived for 0 bytes
    }
    // 1,000 blocks of 112 bytes, freed in the order in which they were made: each lives until all 999 - i behind it, and the i before it ...
    for (int i = 0; i < N; i++) blocks[i] = malloc(112);
    // ... were followed by one of 1024 bytes each, which stay.
    for (int i = 0; i < N; i++) {
        free(blocks[i]);
        blocks[i] = malloc(1024);
    }
    // A large block, which is always looked at, and one aligned, and one that moves when it grows.
    void *large = malloc(LARGE);
    void *aligned = aligned_alloc(4096, 4096);
    free(large); // lived for 4096 bytes
    free(aligned);
    void *grows = malloc(640); // lives for 1280 bytes: those of the one that it becomes
    grows = realloc(grows, 1280);
    free(grows);
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    if (!strcmp(what, "fork") || !strcmp(what, "vfork")) {
        pid_t child = *what == 'v' ? vfork() : fork();
        if (child == 0) {
            if (*what == 'f') known_lifetimes();
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    known_lifetimes();
    if (!strcmp(what, "_exit")) _exit(0);
    if (!strcmp(what, "exec")) {
        char *command[] = {"true", NULL};
        execv("/bin/true", command);
        return 1;
    }
    return 0;
}
