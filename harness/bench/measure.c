// Runs a program and prints its wall time and processor time in seconds and the most memory it occupied in KiB. Small itself: a child's peak counts from
// that of the process it was made by.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

int main(int argc, char **argv) {
    // The library is for the program, not for this one.
    if (argc < 3)
        return 2;
    if (*argv[1])
        setenv("LD_PRELOAD", argv[1], 1);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    pid_t pid;
    int status;
    struct rusage usage;
    if (posix_spawn(&pid, argv[2], NULL, NULL, argv + 2, environ) || wait4(pid, &status, 0, &usage) != pid)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%d %.6f %.6f %ld\n", status, (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9,
           seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss);
    return 0;
}
