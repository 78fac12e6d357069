// Many blocks, each freed at once: 320 MB, of which quarantine reuses most.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20000, BYTES = 16384 };

int main(void) {
    for (int i = 0; i < N; i++) {
        char *block = malloc(BYTES);
        memset(block, i, BYTES);
        free(block);
    }
    printf("%d\n", N);
    return 0;
}
