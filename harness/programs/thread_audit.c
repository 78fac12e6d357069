/* A library that calls gcshim_audit() on a thread that Python does not know, and waits for it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static void *call(void *answer)
{
    int (*audit)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "gcshim_audit");
    *(int *)answer = audit ? audit() : -100;
    return NULL;
}

int audit_on_a_new_thread(void)
{
    pthread_t thread;
    int answer = -101;
    if (pthread_create(&thread, NULL, call, &answer) == 0)
        pthread_join(thread, NULL);
    return answer;
}
