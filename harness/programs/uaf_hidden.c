// The same mistake as the others make, with a pointer that no word in memory shows: it is kept complemented, as XOR lists and some compressed pointers are.
// A collector cannot see it, so the block is given away. That the other programs stay whole is therefore somebody's decision about each block, and no accident.
#include "uaf.h"

#define BYTES 112

static uintptr_t hidden[SPRAY_BLOCKS];

// Not inlined: its frame, with the addresses in it, is gone and written over when life goes on.
static __attribute__((noinline)) void mistake(void) {
    for (int i = 0; i < SPRAY_BLOCKS; i++) {
        char *block = malloc(BYTES);
        memset(block, 'k', BYTES);
        hidden[i] = ~(uintptr_t)block;
        free(block);
        // Another one, so that they do not all lie in one place.
        sprayed[sprayed_count++] = memset(malloc(BYTES), HOSTILE, BYTES);
    }
    sprayed_count = 0;
}

int main(void) {
    mistake();
    life_goes_on(BYTES);
    for (int i = 0; i < SPRAY_BLOCKS; i++)
        if (((char *)~hidden[i])[BYTES - 1] != 'k')
            return verdict(0);
    return verdict(1);
}
