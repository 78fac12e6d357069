// A buffer that is freed while another thread still fills it.
//
// The class of CVE-2019-5786 (Chrome, FileReader): the memory of a buffer is released by one side while another goes on with it on its own thread. Here a
// read that is given up after a while; its thread knows nothing of that, and what it brings lands in whatever has the memory now.
#include "uaf.h"

#include <pthread.h>

#define BYTES 1024

struct job {
    char *into;
    size_t done;
};

static pthread_barrier_t turn;

static void *read_slowly(void *argument) {
    struct job *job = argument;
    char *volatile into = job->into; // what the kernel, or a device, would have
    for (; job->done < BYTES / 2; job->done++)
        into[job->done] = 'r';
    pthread_barrier_wait(&turn); // the rest takes its time
    pthread_barrier_wait(&turn);
    for (; job->done < BYTES; job->done++)
        into[job->done] = 'r';
    return NULL;
}

int main(void) {
    struct job job = {malloc(BYTES), 0};
    pthread_t thread;
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, read_slowly, &job);
    pthread_barrier_wait(&turn);
    free(job.into); // the mistake: out of patience, but the job was not called off
    job.into = NULL;
    life_goes_on(BYTES);
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
    return verdict(spray_is_intact(BYTES));
}
