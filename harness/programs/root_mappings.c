/* Blocks that only memory holds which the program mapped for itself, as other allocators, coroutine libraries and compilers of machine
 * code do: anonymous, far inside a large reservation, a private copy of a file, behind a guard page, kept from children, amid code, and behind the program break. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
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

/* Behind a page that nobody may read, in a mapping that is readable for all that /proc says. Kernels before 6.13 do not know such pages. */
static int guarded(void)
{
    char *memory = mmap(NULL, 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    madvise(memory + 16 * 1024, 4096, 102 /* MADV_GUARD_INSTALL */);
    /* A smaller one, and one that ends with such a page. */
    char *smaller = mmap(NULL, 12 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (smaller == MAP_FAILED)
        abort();
    madvise(smaller, 4096, 102);
    madvise(smaller + 8 * 1024, 4096, 102);
    return hold_in(memory + 20 * 1024);
}

/* Kept from children, as node keeps its heap: a snapshot's child must have it all the same, and a child of the program's not. */
static int unforked(void)
{
    char *memory = mmap(NULL, 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, 64 * 1024, MADV_DONTFORK) != 0)
        abort();
    int status = hold_in(memory);
    pid_t child = fork();
    if (child == 0)
        _exit(madvise(memory, 64 * 1024, MADV_NORMAL) == 0);
    int ended;
    if (waitpid(child, &ended, 0) != child || ended != 0)
        abort();
    return status;
}

/* Amid machine code, where an instruction has its operand. */
static int code(void)
{
    char *memory = mmap(NULL, 64 * 1024, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    for (int i = 0; i < held_count; i++) {
        void *block = new_block(HELD_SIZE);
        memcpy(memory + 4094 + 13 * i, &block, sizeof block);
    }
    wipe();
    return audit();
}

static int program_break(void)
{
    char *memory = sbrk(64 * 1024);
    return hold_in(memory == (char *)-1 ? MAP_FAILED : memory + (-(size_t)memory & 63));
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {
        {"anonymous", anonymous}, {"reserved", reserved}, {"private_file", private_file}, {"guarded", guarded}, {"unforked", unforked}, {"code", code},
        {"program_break", program_break},
        {NULL, NULL},
    };
    return run_case(argc, argv, cases);
}
