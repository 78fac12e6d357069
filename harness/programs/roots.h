/* What the root programs share. Each keeps the only pointers to some blocks in one kind of place, asks for an audit, and ends.
 *
 *     root_KIND CASE N [LIBRARY]
 *
 * N blocks of HELD_SIZE bytes are held by the kind of place under test, LOST_COUNT blocks of LOST_SIZE bytes by nothing: an audit
 * that found nothing at all would otherwise look like one whose roots are complete.
 */
#ifndef ROOTS_H
#define ROOTS_H

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes; both in the middle of a size class. */
#define HELD_SIZE 1237
#define LOST_SIZE 2741
#define LOST_COUNT 3
#define HELD_MAX 20

/* Returns the number of failing findings, or less than 0 if the audit failed. Weak: absent without the shim. */
extern int gcshim_audit(void) __attribute__((weak));

static void *new_block(size_t bytes)
{
    void *block = malloc(bytes);
    if (block == NULL)
        abort();
    memset(block, 0x5a, bytes);
    return block;
}

/* Puts new blocks into `slots`. Not inlined, so that what it leaves behind lies below its caller's frame. */
static __attribute__((noinline, unused)) void fill(void *volatile *slots, int n)
{
    for (int i = 0; i < n; i++)
        slots[i] = new_block(HELD_SIZE);
}

/* Keeps the compiler from dropping an array that is written and not read. */
#define STILL_USED(array) __asm__ volatile("" : : "r"(array) : "memory")

/* Overwrites the dead stack below the caller and the registers that calls do not keep: a copy left there is a true root. */
static __attribute__((noinline, unused)) void wipe(void)
{
    volatile char scrap[32 * 1024];
    for (size_t i = 0; i < sizeof scrap; i++)
        scrap[i] = 0;
#if defined(__x86_64__)
    __asm__ volatile("xorl %%eax, %%eax\n xorl %%ecx, %%ecx\n xorl %%edx, %%edx\n xorl %%esi, %%esi\n xorl %%edi, %%edi\n"
                     "xorl %%r8d, %%r8d\n xorl %%r9d, %%r9d\n xorl %%r10d, %%r10d\n xorl %%r11d, %%r11d\n"
                     "pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n pxor %%xmm3, %%xmm3\n"
                     "pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n"
                     "pxor %%xmm8, %%xmm8\n pxor %%xmm9, %%xmm9\n pxor %%xmm10, %%xmm10\n pxor %%xmm11, %%xmm11\n"
                     "pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n pxor %%xmm14, %%xmm14\n pxor %%xmm15, %%xmm15\n"
                     :
                     :
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
                       "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
#endif
}

/* Audits, and returns the program's exit status. */
static __attribute__((unused)) int audit(void)
{
    if (gcshim_audit == NULL) {
        fprintf(stderr, "gcshim is not preloaded\n");
        return 2;
    }
    for (int i = 0; i < LOST_COUNT; i++)
        (void)!new_block(LOST_SIZE);
    wipe();
    int failing = gcshim_audit();
    printf("failing %d\n", failing);
    return failing < 0 ? 3 : 0;
}

/* How a thread that holds pointers tells that it holds them, and learns that it may go. */
static volatile int holding;
static volatile int may_go;

static __attribute__((unused)) void hold_until_told(void)
{
    holding = 1;
    while (!may_go)
        sched_yield();
}

/* Audits in this thread while another runs `holder`, which sets `holding` and returns after `may_go`. */
static __attribute__((unused)) int audit_beside(void *(*holder)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, holder, NULL) != 0)
        abort();
    while (!holding)
        sched_yield();
    int status = audit();
    may_go = 1;
    pthread_join(thread, NULL);
    return status;
}

struct root_case {
    const char *name;
    int (*run)(void);
};

/* What the cases need to know. */
static __attribute__((unused)) int held_count;
static __attribute__((unused)) const char *library_path;

/* A holder whose frame has the pointers. */
static __attribute__((noinline, unused)) void *hold_in_frame(void *unused)
{
    (void)unused;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    hold_until_told();
    STILL_USED(slots);
    return NULL;
}

static __attribute__((unused)) int run_case(int argc, char **argv, const struct root_case *cases)
{
    held_count = argc < 3 ? 0 : atoi(argv[2]);
    library_path = argc < 4 ? NULL : argv[3];
    for (; argc >= 3 && held_count >= 1 && held_count <= HELD_MAX && cases->name != NULL; cases++)
        if (strcmp(cases->name, argv[1]) == 0)
            return cases->run();
    fprintf(stderr, "usage: %s CASE 1..%d [LIBRARY]\n", argv[0], HELD_MAX);
    return 2;
}

#endif
