// Many short threads, each of which leaves one block behind that another thread frees. Prints the most memory it ever occupied, in KiB.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static pthread_key_t key;

// Runs when a thread ends, perhaps after the heap has noted the end: it allocates again.
static void late(void *value) {
    free(value);
    free(strdup("late"));
}

static void *run(void *mine) {
    void *blocks[60];
    for (int i = 0; i < 60; i++)
        memset(blocks[i] = malloc(8 + 40 * i), i, 8);
    for (int i = 0; i < 60; i++)
        free(blocks[i]);
    free(mine);
    pthread_setspecific(key, malloc(100));
    return strdup("left behind");
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1000;
    pthread_key_create(&key, late);
    for (int i = 0; i < threads / 4; i++) {
        pthread_t group[4];
        for (int j = 0; j < 4; j++)
            if (pthread_create(&group[j], NULL, run, malloc(32)))
                return 1;
        for (int j = 0; j < 4; j++) {
            void *left;
            pthread_join(group[j], &left);
            if (strcmp(left, "left behind"))
                return 2;
            free(left);
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld\n", usage.ru_maxrss);
    return 0;
}
