// Fragmentation, hours compressed: sizes change from phase to phase while a tenth of each phase's blocks lives on to the end.
#include "workload.h"

int main(int argc, char **argv) {
    unsigned long phases = argument(argc, argv, 1, 40), count = 200000;
    uint64_t seed = 9;
    char **blocks = malloc(count * sizeof *blocks);
    for (unsigned long phase = 0; phase < phases; phase++) {
        size_t base = 16 + next_random(&seed) % 500;
        for (unsigned long i = 0; i < count; i++) {
            blocks[i] = malloc(base + next_random(&seed) % 64);
            blocks[i][0] = 1;
        }
        for (unsigned long i = 0; i < count; i++)
            if (next_random(&seed) % 10)
                free(blocks[i]);
    }
    return 0;
}
