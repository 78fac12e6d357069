// What the use-after-free programs (uaf_*) share.
//
// Each makes one mistake that programs were broken through: it frees a block, keeps a pointer to it in a place that is ordinary for such a program, and
// uses that pointer much later. In between stands `life_goes_on`: blocks of the freed one's size are asked for and filled with what somebody
// hostile would send, and hundreds of MiB of other blocks come and go. If the freed block was given to anybody, the stale pointer shows it.
//
// It exits with 0 if the stale pointer still found what was there, and with 1 if not; it prints the peak of its resident memory in KiB.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What passes through the heap between a mistake and its consequence, in bytes. At no time is more than CHURN_SLOTS blocks of it alive: 2 MiB.
#define CHURN_BYTES ((size_t)320 << 20)
#define CHURN_SLOTS 2048

// Blocks of the victim's size that are asked for in each of so many rounds, and kept.
#define SPRAY_ROUNDS 16
#define SPRAY_BLOCKS 512

// What somebody hostile would fill a block with: no pointer, no terminated text, no number of ours.
#define HOSTILE 0x5a

static void *sprayed[SPRAY_ROUNDS * SPRAY_BLOCKS];
static size_t sprayed_count;

static uint64_t random_state = 88172645463325252u;

static inline uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du >> 16;
}

// Asks for blocks of `size` bytes, as a program that serves others would, and fills them.
static inline void spray(size_t size) {
    for (int i = 0; i < SPRAY_BLOCKS; i++) {
        void *block = malloc(size);
        if (!block)
            exit(3);
        sprayed[sprayed_count++] = memset(block, HOSTILE, size);
    }
}

// Whether somebody wrote into the blocks that were asked for after the mistake.
static inline int spray_is_intact(size_t size) {
    for (size_t i = 0; i < sprayed_count; i++)
        for (size_t k = 0; k < size; k++)
            if (((unsigned char *)sprayed[i])[k] != HOSTILE)
                return 0;
    return 1;
}

// Blocks that come and go, of 16 bytes to 2 KiB, one in thousand of up to 256 KiB; each is written to from end to end. None is as large as the victim, so
// that what becomes free in the victim's size class is the victim.
static inline void churn(size_t bytes, size_t victim) {
    static void *slots[CHURN_SLOTS];
    while (bytes) {
        uint64_t r = next_random();
        size_t size = r % 1000 == 0 ? 4096 + (r >> 10) % 258048 : 16 + (r >> 10) % 2032;
        if (size < 2 * victim && 2 * size > victim)
            size = 2 * victim;
        void **slot = &slots[(r >> 40) % CHURN_SLOTS];
        free(*slot);
        *slot = malloc(size);
        if (!*slot)
            exit(3);
        memset(*slot, (int)(r >> 50), size);
        bytes -= size < bytes ? size : bytes;
    }
    for (int i = 0; i < CHURN_SLOTS; i++) {
        free(slots[i]);
        slots[i] = NULL;
    }
}

// Data that lives all the time, so much as UAF_LIVE_MIB in the environment says: where much lives, the heap is looked at in another way than where little does.
static inline void live(void) {
    static void *newest;
    const char *text = getenv("UAF_LIVE_MIB");
    for (size_t left = text ? strtoul(text, NULL, 10) << 20 : 0; left >= 4096; left -= 4096) {
        void **block = (void **)malloc(4096);
        if (!block)
            exit(3);
        memset(block, 1, 4096);
        *block = newest;
        newest = block;
    }
}

// What happens between the mistake and its consequence; `size` is the freed block's.
static inline void life_goes_on(size_t size) {
    live();
    for (int round = 0; round < SPRAY_ROUNDS; round++) {
        spray(size);
        churn(CHURN_BYTES / SPRAY_ROUNDS, size);
    }
}

// The most memory that was resident, in KiB. Not `ru_maxrss` of getrusage: that outlives `exec`, so it begins with the peak of whoever started this one.
static inline long peak_kib(void) {
    long kib = -1;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib;
}

// The end of each program.
static inline int verdict(int intact) {
    printf("%s %ld\n", intact ? "intact" : "reused", peak_kib());
    return intact ? 0 : 1;
}
