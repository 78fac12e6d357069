// Buffers that grow by realloc, several at a time, up to some MiB.
#include "workload.h"

int main(int argc, char **argv) {
    unsigned long rounds = argument(argc, argv, 1, 150);
    for (unsigned long i = 0; i < rounds; i++) {
        char *buffers[4] = {0};
        for (size_t size = 16; size < 6 << 20; size += size / 8 + 16)
            for (int j = 0; j < 4; j++) {
                buffers[j] = realloc(buffers[j], size);
                buffers[j][size - 1] = 1;
            }
        for (int j = 0; j < 4; j++)
            free(buffers[j]);
    }
    return 0;
}
