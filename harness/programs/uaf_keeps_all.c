// A preloaded library whose `free` does nothing: what the use-after-free programs do when no block is ever reused, and what memory that takes.
#include <stddef.h>

void free(void *block);

void free(void *block) { (void)block; }
