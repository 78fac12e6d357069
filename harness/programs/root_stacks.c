/* Blocks that only a stack holds: a frame of the auditing thread, of another thread, that thread's red zone, and a signal handler's
 * frame on an alternate stack. */
#include <signal.h>
#include <stdint.h>

#include "roots.h"

static int own_frame(void)
{
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    int status = audit();
    STILL_USED(slots);
    return status;
}

static int thread_frame(void)
{
    return audit_beside(hold_in_frame);
}

#if defined(__x86_64__)
/* void move_to_red_zone(void **from, volatile int *holding, volatile int *may_go): moves 14 words from `from` to the 112 bytes that
 * start 128 below the stack pointer, and runs there until it may go. In assembly, because a compiler is free to use its red zone or not. */
__asm__(".text\n"
        ".type move_to_red_zone, @function\n"
        "move_to_red_zone:\n"
        ".set at, 0\n"
        ".rept 14\n"
        "    movq at(%rdi), %rax\n"
        "    movq %rax, at-128(%rsp)\n"
        "    movq $0, at(%rdi)\n"
        "    .set at, at + 8\n"
        ".endr\n"
        "    xorl %eax, %eax\n"
        "    movl $1, (%rsi)\n"
        "1:  pause\n"
        "    cmpl $0, (%rdx)\n"
        "    je 1b\n"
        "    ret\n"
        ".size move_to_red_zone, .-move_to_red_zone\n");
extern void move_to_red_zone(void *volatile *from, volatile int *holding, volatile int *may_go);

static void *hold_in_red_zone(void *unused)
{
    (void)unused;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    move_to_red_zone(slots, &holding, &may_go);
    return NULL;
}

static int red_zone(void)
{
    return audit_beside(hold_in_red_zone);
}
#endif

static void hold_in_handler(int signal)
{
    (void)signal;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    hold_until_told();
    STILL_USED(slots);
}

/* The alternate stack is a block of its own, and only the kernel knows where. Returns its address, disguised. */
static __attribute__((noinline)) uintptr_t use_alternate_stack(void)
{
    stack_t stack = {.ss_size = 256 * 1024};
    stack.ss_sp = malloc(stack.ss_size);
    if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0)
        abort();
    return ~(uintptr_t)stack.ss_sp;
}

static void *hold_on_alternate_stack(void *unused)
{
    (void)unused;
    volatile uintptr_t disguised = use_alternate_stack();
    wipe();
    struct sigaction action = {.sa_handler = hold_in_handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    free((void *)~disguised);
    return NULL;
}

static int alternate_stack(void)
{
    return audit_beside(hold_on_alternate_stack);
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {
        {"own_frame", own_frame},
        {"thread_frame", thread_frame},
#if defined(__x86_64__)
        {"red_zone", red_zone},
#endif
        {"alternate_stack", alternate_stack},
        {NULL, NULL},
    };
    return run_case(argc, argv, cases);
}
