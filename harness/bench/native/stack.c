// One thread, blocks freed in the reverse of their order, as calls do: the shortest way through malloc and free (in the spirit of cfrac).
#include "workload.h"

int main(int argc, char **argv) {
    unsigned long rounds = argument(argc, argv, 1, 4000000);
    void *blocks[24];
    for (unsigned long i = 0; i < rounds; i++) {
        for (int j = 0; j < 24; j++) {
            blocks[j] = malloc(16 + 8 * ((j + i) & 7));
            *(volatile char *)blocks[j] = 1;
        }
        for (int j = 24; j-- > 0;)
            free(blocks[j]);
    }
    return 0;
}
