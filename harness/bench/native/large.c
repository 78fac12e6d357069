// Large blocks, 64 KiB to some MiB, replaced at random and written to once a page.
#include "workload.h"

int main(int argc, char **argv) {
    unsigned long steps = argument(argc, argv, 1, 60000);
    uint64_t seed = 5;
    static char *blocks[40];
    for (unsigned long i = 0; i < steps; i++) {
        uint64_t r = next_random(&seed);
        char **slot = &blocks[r % 40];
        free(*slot);
        size_t size = (64 << 10) << (r >> 20) % 6;
        size += (r >> 30) % size;
        *slot = malloc(size);
        for (size_t at = 0; at < size; at += 4096)
            (*slot)[at] = 1;
    }
    return 0;
}
