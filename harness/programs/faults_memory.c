/* A program that is ready to be refused memory at any time: it looks at every answer, checks every block's contents, and ends with status 5.
 *
 *     faults_memory heap      small, large, aligned and huge blocks, growing ones, and those of a thread; then all of it once more
 *     faults_memory audit     loses three blocks, audits, and uses the heap. Prints "found N" or "refused N" for what the audit answered
 *
 * What is of interest lies between getpriority(MARK, 1) and getpriority(MARK, 0): see refuse_calls.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

#define MARK 0x6763
#define BLOCKS 64

extern int gcshim_audit(void) __attribute__((weak));

static const size_t sizes[] = {16, 48, 200, 1000, 5000, 30000, 70000, 500000, 3000000, 20000000};

static void fail(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
    _Exit(1);
}

static unsigned char mark_of(const void *block) { return (unsigned char)((uintptr_t)block >> 4); }

/* Large blocks are looked at here and there: every page of 20 MB would take its time. */
static size_t step_of(size_t size) { return size > 100000 ? 70001 : size > 5000 ? 4000 : 1; }

static void write_block(unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i += step_of(size))
        block[i] = mark_of(block);
    block[size - 1] = mark_of(block);
}

static void check(const unsigned char *block, size_t size, unsigned char mark)
{
    for (size_t i = 0; i < size; i += step_of(size))
        if (block[i] != mark)
            fail("a block's contents have changed");
}

static unsigned long nulls;

static void *some_block(unsigned kind, size_t size)
{
    errno = 0;
    void *block = NULL;
    switch (kind % 4) {
    case 0: block = malloc(size); break;
    case 1: block = calloc(1, size); break;
    case 2: block = aligned_alloc(4096, size); break;
    case 3:
        if (posix_memalign(&block, 256, size) == ENOMEM)
            errno = ENOMEM;
        break;
    }
    if (block == NULL) {
        if (errno != ENOMEM)
            fail("null without ENOMEM");
        __atomic_fetch_add(&nulls, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    if (kind % 4 == 1)
        check(block, size, 0);
    if (kind % 4 >= 2 && (uintptr_t)block % 256 != 0)
        fail("a block is not aligned");
    write_block(block, size);
    return block;
}

static void *round_of_blocks(void *unused)
{
    (void)unused;
    unsigned char *blocks[BLOCKS];
    size_t size[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        size[i] = sizes[i % (sizeof sizes / sizeof *sizes)];
        blocks[i] = some_block(i / 10, size[i]);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i] == NULL)
            continue;
        check(blocks[i], size[i], mark_of(blocks[i]));
        /* Growth moves small blocks, extends large ones, and moves the pages of huge ones. */
        unsigned char before = mark_of(blocks[i]);
        size_t wanted = size[i] + size[i] / 2;
        unsigned char *grown = realloc(blocks[i], wanted);
        if (grown == NULL)
            __atomic_fetch_add(&nulls, 1, __ATOMIC_RELAXED);
        else
            blocks[i] = grown;
        check(blocks[i], size[i], before);
        if (grown != NULL && malloc_usable_size(grown) < wanted)
            fail("a block is smaller than asked for");
    }
    for (unsigned i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    malloc_trim(0);
    for (unsigned i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);
    return NULL;
}

static void heap(void)
{
    round_of_blocks(NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, round_of_blocks, NULL) == 0)
        pthread_join(thread, NULL);
}

static __attribute__((noinline)) void lose_blocks(void)
{
    for (int i = 0; i < 3; i++)
        (void)!some_block(0, 2741);
}

/* What is left of the lost blocks' addresses below the caller's frame would keep them. */
static __attribute__((noinline)) void wipe(void)
{
    volatile char below[8192];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

int main(int count, char **arguments)
{
    int audit = count > 1 && !strcmp(arguments[1], "audit");
    if (audit && gcshim_audit == NULL)
        return 2;
    /* Volatile: held in the frame, where an audit finds them. */
    void *volatile before = some_block(0, 1000), *volatile large = some_block(0, 3000000);
    int answer = 0;
    if (audit) {
        lose_blocks();
        wipe();
    }
    getpriority(MARK, 1);
    if (audit)
        answer = gcshim_audit();
    else
        heap();
    getpriority(MARK, 0);
    unsigned long refused = nulls;
    /* Nothing is refused any more: what was missing then is there now, unless it is refused for good. */
    nulls = 0;
    heap();
    if (before == NULL || large == NULL)
        fail("nothing to begin with");
    check(before, 1000, mark_of(before));
    check(large, 3000000, mark_of(large));
    free(before);
    free(large);
    if (nulls > 0)
        fail("memory that was refused once is missing for ever");
    if (audit)
        printf(answer < 0 ? "refused %d\n" : "found %d\n", answer);
    else
        printf("nulls %lu\n", refused);
    fflush(stdout);
    return 5;
}
