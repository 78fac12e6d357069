// What the benchmark programs share: a generator of numbers that is the same everywhere, and sizes as programs ask for them.
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull >> 16;
}

// Mostly small, sometimes some hundred bytes, rarely thousands: roughly what compilers and interpreters ask for.
static inline size_t mixed_size(uint64_t r) {
    unsigned kind = r & 127;
    r >>= 7;
    return kind < 100 ? 8 + r % 120 : kind < 122 ? 64 + r % 900 : kind < 127 ? 1024 + r % 7000 : 8192 + r % 60000;
}

static inline unsigned long argument(int argc, char **argv, int index, unsigned long otherwise) {
    return argc > index ? strtoul(argv[index], NULL, 10) : otherwise;
}
