// Blocks of 64 MiB, filled and freed one after the other, and a word left that leads into the first. Prints whether another one came to stand there, what the word finds,
// and the peak of memory in KiB.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BYTES = 64 << 20, BLOCKS = 40 };

static char *volatile stale;

int main(void) {
    const char *word = "intact";
    for (int i = 0; i < BLOCKS; i++) {
        char *block = malloc(BYTES);
        memset(block, 7, BYTES);
        if (i == 0)
            stale = block + BYTES / 2;
        else if (stale >= block && stale < block + BYTES)
            word = "reused";
        free(block);
    }
    int found = strcmp(word, "intact") == 0 ? *stale : -1;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%s %d %ld\n", word, found, usage.ru_maxrss);
    return 0;
}
