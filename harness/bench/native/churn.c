// One thread, small blocks, replaced at random: the fast paths, and how well a full heap stays usable.
#include "workload.h"

int main(int argc, char **argv) {
    unsigned long steps = argument(argc, argv, 1, 40000000), slots = argument(argc, argv, 2, 20000);
    uint64_t seed = 1;
    char **blocks = calloc(slots, sizeof *blocks);
    for (unsigned long i = 0; i < steps; i++) {
        uint64_t r = next_random(&seed);
        char **slot = &blocks[r % slots];
        free(*slot);
        size_t size = 16 + (r >> 32) % 240;
        *slot = malloc(size);
        (*slot)[0] = 1;
    }
    return 0;
}
