// A compiler's mix: many small nodes that live to the end of a function, some to the end of the file, vectors that grow by realloc.
#include "workload.h"

struct node {
    struct node *next, *child;
    char name[];
};

int main(int argc, char **argv) {
    unsigned long functions = argument(argc, argv, 1, 3000);
    uint64_t seed = 7;
    struct node *file = NULL;
    for (unsigned long f = 0; f < functions; f++) {
        struct node *list = NULL;
        size_t room = 8, used = 0;
        struct node **vector = malloc(room * sizeof *vector);
        for (int i = 0; i < 3000; i++) {
            uint64_t r = next_random(&seed);
            size_t size = sizeof(struct node) + mixed_size(r) / (r >> 60 ? 2 : 1);
            struct node *n = i % 16 ? malloc(size) : calloc(1, size);
            n->child = list;
            n->name[0] = (char)r;
            if (i % 50 == 0) {
                n->next = file;
                file = n;
            } else {
                n->next = list;
                list = n;
            }
            if (used == room)
                vector = realloc(vector, (room *= 2) * sizeof *vector);
            vector[used++] = n;
        }
        for (struct node *n = list, *next; n; n = next) {
            next = n->next;
            free(n);
        }
        free(vector);
    }
    return file == NULL;
}
