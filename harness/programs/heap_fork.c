// Fork while other threads allocate and free. Each child frees blocks of the threads it does not have, allocates, makes a thread, and
// forks once more. Handlers registered by the program allocate too.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 400 };

static _Atomic(char *) slots[THREADS][SLOTS];
static atomic_int stop;

static void *churn(void *number) {
    unsigned long n = (unsigned long)number, seed = n + 1;
    while (!atomic_load(&stop)) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        size_t size = 16 + (seed >> 33) % (seed >> 60 ? 900 : 30000);
        char *p = malloc(size);
        memset(p, (int)size, 16);
        // Half of the time into another thread's slots, so that frees are remote too.
        unsigned long to = seed >> 40 & 1 ? n : (n + 1) % THREADS;
        free(atomic_exchange(&slots[to][(seed >> 45) % SLOTS], p));
    }
    return NULL;
}

static void allocate_in_handler(void) { free(malloc(100)); }

static void *in_child(void *unused) {
    (void)unused;
    for (int i = 0; i < 2000; i++)
        free(malloc((size_t)i * 7));
    return malloc(10);
}

static int child(int depth) {
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < SLOTS; j++)
            free(atomic_exchange(&slots[i][j], NULL));
    char *blocks[3000];
    for (int i = 0; i < 3000; i++) {
        blocks[i] = malloc(16 + (size_t)i % 1000);
        memset(blocks[i], i, 16 + (size_t)i % 1000);
    }
    for (int i = 0; i < 3000; i++) {
        for (int j = 0; j < 16 + i % 1000; j++)
            if (blocks[i][j] != (char)i)
                return 3;
        free(blocks[i]);
    }
    pthread_t thread;
    void *left;
    if (pthread_create(&thread, NULL, in_child, NULL) || pthread_join(thread, &left))
        return 4;
    free(left);
    if (depth == 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(depth - 1));
    int status;
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 ? 5 : 0;
}

int main(int argc, char **argv) {
    int forks = argc > 1 ? atoi(argv[1]) : 50;
    pthread_atfork(allocate_in_handler, allocate_in_handler, allocate_in_handler);
    pthread_t threads[THREADS];
    for (unsigned long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, churn, (void *)i))
            return 1;
    for (int i = 0; i < forks; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(1));
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "child %d: status %#x\n", i, status);
            _exit(2);
        }
        free(malloc(1000));
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
