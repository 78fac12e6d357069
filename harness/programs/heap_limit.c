// Out of memory by RLIMIT_AS, in blocks of the size given: null and ENOMEM, nothing lost, and all is well again once memory is freed.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int main(int argc, char **argv) {
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
    unsigned long most[3];
    struct rlimit limit = {200ul << 20, 200ul << 20};
    if (setrlimit(RLIMIT_AS, &limit))
        return 1;
    for (int round = 0; round < 3; round++) {
        void **list = NULL, **p;
        unsigned long count = 0;
        while (errno = 0, (p = malloc(size)) != NULL) {
            *p = list;
            list = p;
            count++;
        }
        if (errno != ENOMEM)
            return 2;
        if (errno = 0, calloc(size, 10) != NULL || errno != ENOMEM)
            return 3;
        if (errno = 0, realloc(list, size * 100) != NULL || errno != ENOMEM)
            return 4;
        if (errno = 0, aligned_alloc(4096, 64 << 20) != NULL || errno != ENOMEM)
            return 5;
        most[round] = count;
        while (list) {
            void **next = *list;
            free(list);
            list = next;
        }
    }
    // Address space is used well, and as well the third time as the first.
    fprintf(stdout, "%lu %lu %lu\n", most[0] * size >> 20, most[1] * size >> 20, most[2] * size >> 20);
    return 0;
}
