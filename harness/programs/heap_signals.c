// A timer signal that interrupts malloc and free at a high rate; its handler returns normally.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile sig_atomic_t signals;

static void handler(int number) {
    (void)number;
    signals++;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &every, NULL);
    static unsigned char *blocks[1000];
    static size_t sizes[1000];
    unsigned long seed = 1;
    while (signals < 5000) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        size_t i = (seed >> 33) % 1000, size = 1 + (seed >> 43) % 2000;
        for (size_t j = 0; blocks[i] && j < sizes[i]; j++)
            if (blocks[i][j] != (unsigned char)i)
                return 1;
        free(blocks[i]);
        blocks[i] = memset(malloc(size), (int)i, size);
        sizes[i] = size;
    }
    return 0;
}
