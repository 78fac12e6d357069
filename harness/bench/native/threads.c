// Short threads, one after the other, each with a little work.
#include "workload.h"

static void *work(void *unused) {
    void *blocks[100];
    for (int i = 0; i < 100; i++)
        *(volatile char *)(blocks[i] = malloc(16 + 24 * i)) = 1;
    for (int i = 0; i < 100; i++)
        free(blocks[i]);
    return unused;
}

int main(int argc, char **argv) {
    unsigned long threads = argument(argc, argv, 1, 30000);
    for (unsigned long i = 0; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
        pthread_join(thread, NULL);
    }
    return 0;
}
