/* Blocks that only memory holds which the program mapped for itself, as other allocators, coroutine libraries and compilers of machine
 * code do: anonymous, far inside a large reservation, a private copy of a file, and behind the program break. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "roots.h"

static int hold_in(void *memory)
{
    if (memory == MAP_FAILED)
        abort();
    fill((void *volatile *)memory, held_count);
    wipe();
    return audit();
}

static int anonymous(void)
{
    return hold_in(mmap(NULL, 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* One GiB, of which a page is touched. */
static int reserved(void)
{
    size_t bytes = (size_t)1 << 30;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return hold_in(memory == MAP_FAILED ? MAP_FAILED : memory + bytes / 2 + 4096);
}

static int private_file(void)
{
    int file = open("/proc/self/exe", O_RDONLY);
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    return hold_in(memory);
}

static int program_break(void)
{
    char *memory = sbrk(64 * 1024);
    return hold_in(memory == (char *)-1 ? MAP_FAILED : memory + (-(size_t)memory & 63));
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {
        {"anonymous", anonymous}, {"reserved", reserved}, {"private_file", private_file}, {"program_break", program_break},
        {NULL, NULL},
    };
    return run_case(argc, argv, cases);
}
