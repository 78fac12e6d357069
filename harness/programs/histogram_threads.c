// Threads that live a short time each: every one allocates and frees known blocks, half of which the next thread frees.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { AT_A_TIME = 8, GENERATIONS = 50, BLOCKS = 200 };

static void *left[AT_A_TIME][BLOCKS];

static void *work(void *argument) {
    void **mine = argument;
    for (int i = 0; i < BLOCKS; i++) {
        free(mine[i]); // of the thread before
        free(malloc(160));
        mine[i] = malloc(96);
    }
    return NULL;
}

int main(void) {
    for (int generation = 0; generation < GENERATIONS; generation++) {
        pthread_t threads[AT_A_TIME];
        for (int i = 0; i < AT_A_TIME; i++) pthread_create(&threads[i], NULL, work, left[i]);
        for (int i = 0; i < AT_A_TIME; i++) pthread_join(threads[i], NULL);
    }
    printf("%d\n", AT_A_TIME * GENERATIONS * BLOCKS);
    return 0;
}
