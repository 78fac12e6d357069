/* Stacks that are not the C library's: given to a thread, or a coroutine's. What they hold is not lost; what only their dead part holds is.
 *
 *     snapshot_stacks CASE N
 *
 * set_malloc, set_mmap                  a thread on memory of the program's, blocks in its frame
 * set_malloc_dead, set_mmap_dead        the same, the pointers below its stack pointer: lost
 * ended_dead                            a thread that has ended, and whose stack the C library keeps: lost
 * coroutine_malloc, coroutine_mmap      the auditing thread is on a coroutine's stack, blocks in the main stack's frame
 * suspended_malloc, suspended_mmap      a suspended coroutine holds them
 * pool                                  both coroutines in one mapping, without guards between them, above a guard: one suspended, one audits
 * small                                 audits on a thread with the smallest stack there is
 */
#define _GNU_SOURCE
#include <limits.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "roots.h"

#define STACK_BYTES (256 * 1024)

static void *mapped(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

/* Far enough below that no call of the holder's reaches there. */
static __attribute__((noinline)) void leave_below(void)
{
    volatile char distance[64 * 1024];
    distance[0] = 0;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    STILL_USED(slots);
    STILL_USED(distance);
}

static void *hold_below(void *unused)
{
    (void)unused;
    leave_below();
    wipe();
    hold_until_told();
    return NULL;
}

static int on_set_stack(void *stack, void *(*holder)(void *))
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, STACK_BYTES) != 0 || pthread_create(&thread, &attributes, holder, NULL) != 0)
        abort();
    while (!holding)
        sched_yield();
    int status = audit();
    may_go = 1;
    pthread_join(thread, NULL);
    return status;
}

static int set_malloc(void)
{
    return on_set_stack(malloc(STACK_BYTES), hold_in_frame);
}

static int set_mmap(void)
{
    return on_set_stack(mapped(STACK_BYTES), hold_in_frame);
}

static int set_malloc_dead(void)
{
    return on_set_stack(malloc(STACK_BYTES), hold_below);
}

static int set_mmap_dead(void)
{
    return on_set_stack(mapped(STACK_BYTES), hold_below);
}

/* In the few pages that the C library does not give back when it keeps the stack. */
static void *hold_and_end(void *unused)
{
    (void)unused;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    STILL_USED(slots);
    return NULL;
}

static int ended_dead(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, hold_and_end, NULL) != 0 || pthread_join(thread, NULL) != 0)
        abort();
    wipe();
    return audit();
}

static ucontext_t main_context, first_context, second_context;
static int status_of_audit;

static void make(ucontext_t *context, void *stack, void (*run)(void))
{
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = &main_context;
    makecontext(context, run, 0);
}

static void run_audit(void)
{
    status_of_audit = audit();
}

static int audit_on(void *stack)
{
    make(&first_context, stack, run_audit);
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    swapcontext(&main_context, &first_context);
    STILL_USED(slots);
    return status_of_audit;
}

static int coroutine_malloc(void)
{
    return audit_on(malloc(STACK_BYTES));
}

static int coroutine_mmap(void)
{
    return audit_on(mapped(STACK_BYTES));
}

static void run_holder(void)
{
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    swapcontext(&first_context, &main_context);
    STILL_USED(slots);
}

static int suspend_on(void *stack)
{
    make(&first_context, stack, run_holder);
    swapcontext(&main_context, &first_context);
    return audit();
}

static int suspended_malloc(void)
{
    return suspend_on(malloc(STACK_BYTES));
}

static int suspended_mmap(void)
{
    return suspend_on(mapped(STACK_BYTES));
}

static int pool(void)
{
    char *area = mapped(4096 + 2 * STACK_BYTES);
    mprotect(area, 4096, PROT_NONE);
    make(&first_context, area + 4096, run_holder);
    swapcontext(&main_context, &first_context);
    make(&second_context, area + 4096 + STACK_BYTES, run_audit);
    swapcontext(&main_context, &second_context);
    return status_of_audit;
}

static void *audit_small(void *unused)
{
    (void)unused;
    status_of_audit = gcshim_audit() < 0 ? 3 : 0;
    return NULL;
}

static int small(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    for (int i = 0; i < LOST_COUNT; i++)
        (void)!new_block(LOST_SIZE);
    wipe();
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, 2 * PTHREAD_STACK_MIN) != 0 ||
        pthread_create(&thread, &attributes, audit_small, NULL) != 0 || pthread_join(thread, NULL) != 0)
        abort();
    STILL_USED(slots);
    return status_of_audit;
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {
        {"set_malloc", set_malloc},
        {"set_mmap", set_mmap},
        {"set_malloc_dead", set_malloc_dead},
        {"set_mmap_dead", set_mmap_dead},
        {"ended_dead", ended_dead},
        {"coroutine_malloc", coroutine_malloc},
        {"coroutine_mmap", coroutine_mmap},
        {"suspended_malloc", suspended_malloc},
        {"suspended_mmap", suspended_mmap},
        {"pool", pool},
        {"small", small},
        {NULL, NULL},
    };
    return run_case(argc, argv, cases);
}
