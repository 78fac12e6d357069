/* For faults_threads modules: a library that takes memory when it is loaded and unloaded, holds a block meanwhile, and has thread-local data. */
#include <stdlib.h>
#include <string.h>

void *held;
static __thread char *own;

__attribute__((constructor)) static void loaded(void)
{
    held = malloc(1237);
    own = memset(held, 1, 1237);
}

__attribute__((destructor)) static void unloaded(void)
{
    void *another = malloc(500);
    free(held);
    /* Unloaded by the thread that loaded it, or by the other. */
    own = NULL;
    free(another);
}
