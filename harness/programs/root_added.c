/* Blocks that only memory holds which is no root unless the program names it: shared without a file, a shared file that ends before its mapping, a range with a hole, and a
 * block that nothing reaches. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../include/gcshim.h"
#include "roots.h"

enum { BYTES = 64 * 1024 };

static int hold_in(char *memory, size_t offset, size_t bytes)
{
    if (memory == MAP_FAILED || gcshim_roots_add(memory, bytes) != 0)
        abort();
    fill((void *volatile *)(memory + offset), held_count);
    wipe();
    return audit();
}

static int shared(void)
{
    return hold_in(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 4096, BYTES);
}

static int file(void)
{
    int file = memfd_create("pointers", 0);
    if (file < 0 || ftruncate(file, 8192) != 0)
        abort();
    return hold_in(mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), 0, BYTES);
}

static int hole(void)
{
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    munmap(memory + 4096, 8192);
    return hold_in(memory, BYTES - 4096, BYTES);
}

static int block(void)
{
    return hold_in(malloc(HELD_MAX * sizeof(void *)), 0, HELD_MAX * sizeof(void *));
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {{"shared", shared}, {"file", file}, {"hole", hole}, {"block", block}, {NULL, NULL}};
    return run_case(argc, argv, cases);
}
