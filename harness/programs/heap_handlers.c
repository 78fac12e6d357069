// A timer signal whose handler allocates and frees blocks of the size that it interrupts malloc and free for: no block is handed out twice. All blocks fit
// into one slab, so that nobody holds a lock of the heap when the signal comes.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { BYTES = 48, OURS = 500, THEIRS = 100 };

static volatile sig_atomic_t signals;
static volatile int twice;
static unsigned char *theirs[THEIRS];

static unsigned char *fill(unsigned char *block, int value) { return memset(block, value, BYTES); }

static int is_whole(const unsigned char *block, int value) {
    for (int i = 0; i < BYTES; i++)
        if (block[i] != (unsigned char)value)
            return 0;
    return 1;
}

static void handler(int number) {
    (void)number;
    unsigned n = (unsigned)signals++;
    for (unsigned i = n * 7; i < n * 7 + 5; i++) {
        unsigned char **slot = &theirs[i % THEIRS];
        if (*slot && !is_whole(*slot, 0xee))
            twice = 1;
        free(*slot);
        *slot = fill(malloc(BYTES), 0xee);
    }
}

int main(void) {
    static unsigned char *blocks[OURS];
    for (int i = 0; i < OURS; i++)
        blocks[i] = malloc(BYTES);
    for (int i = 0; i < OURS; i++)
        free(blocks[i]);
    memset(blocks, 0, sizeof blocks);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &every, NULL);
    unsigned long seed = 1;
    while (signals < 5000 && !twice) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        int i = (int)(seed >> 33) % OURS, mark = i % 200;
        if (blocks[i] && !is_whole(blocks[i], mark))
            return 1;
        free(blocks[i]);
        blocks[i] = fill(malloc(BYTES), mark);
    }
    return twice;
}
