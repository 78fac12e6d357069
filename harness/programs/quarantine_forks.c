// Processes made by fork, all of which retain and sweep at the same time, each with stale pointers of its own: says "right" if no block was reused in one of them that a word
// of that one points to. argv: how many processes beside this one, and rounds.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ALIVE = 200000, STALE = 20000, WORDS = 16 };

static uint64_t *alive[ALIVE];
static uint64_t *stale[STALE];

static int work(uint64_t random, int rounds) {
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < ALIVE; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t *block = malloc(WORDS * sizeof *block);
            for (int w = 0; w < WORDS; w++)
                block[w] = round;
            if (random >> 61) {
                free(block);
            } else {
                free(alive[i]);
                alive[i] = block;
            }
            // Freed, and pointed to: what stands in it must stay.
            int at = (random >> 32) % STALE;
            if (i % 16 == 0) {
                uint64_t *kept = malloc(WORDS * sizeof *kept);
                for (int w = 0; w < WORDS; w++)
                    kept[w] = ~(uint64_t)at;
                stale[at] = kept;
                free(kept);
            }
        }
        for (int at = 0; at < STALE; at++)
            if (stale[at] && (stale[at][0] != ~(uint64_t)at || stale[at][WORDS - 1] != ~(uint64_t)at))
                return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    int children = argc > 1 ? atoi(argv[1]) : 3, rounds = argc > 2 ? atoi(argv[2]) : 20;
    pid_t pids[16];
    if (children > 16 || work(1, 5))
        return 2;
    for (int c = 0; c < children; c++)
        if (!(pids[c] = fork()))
            _exit(work(c + 2, rounds));
    int wrong = work(99, rounds);
    for (int c = 0; c < children; c++) {
        int status;
        waitpid(pids[c], &status, 0);
        wrong |= status;
    }
    printf("%s\n", wrong ? "wrong" : "right");
    return wrong != 0;
}
