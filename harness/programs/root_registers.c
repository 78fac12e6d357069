/* Blocks that only the registers of a running thread hold: general ones, and vector ones (compilers copy two pointers at a time
 * through those). */
#include "roots.h"

#if !defined(__x86_64__)
#error "the registers are named here for x86-64 only"
#endif

/* void move_to_general(void **from, volatile int *holding, volatile int *may_go): moves 8 words from `from` into registers, and runs
 * until it may go. */
__asm__(".text\n"
        ".type move_to_general, @function\n"
        "move_to_general:\n"
        "    pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "    movq 0(%rdi), %rbx\n movq 8(%rdi), %rbp\n movq 16(%rdi), %r12\n movq 24(%rdi), %r13\n"
        "    movq 32(%rdi), %r14\n movq 40(%rdi), %r15\n movq 48(%rdi), %r8\n movq 56(%rdi), %r9\n"
        ".set at, 0\n"
        ".rept 8\n"
        "    movq $0, at(%rdi)\n"
        "    .set at, at + 8\n"
        ".endr\n"
        "    movl $1, (%rsi)\n"
        "1:  pause\n"
        "    cmpl $0, (%rdx)\n"
        "    je 1b\n"
        "    popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbp\n popq %rbx\n"
        "    ret\n"
        ".size move_to_general, .-move_to_general\n");
extern void move_to_general(void *volatile *from, volatile int *holding, volatile int *may_go);

/* The same with 16 words and the vector registers. */
__asm__(".text\n"
        ".type move_to_vector, @function\n"
        "move_to_vector:\n"
        "    movups 0(%rdi), %xmm0\n movups 16(%rdi), %xmm3\n movups 32(%rdi), %xmm5\n movups 48(%rdi), %xmm7\n"
        "    movups 64(%rdi), %xmm9\n movups 80(%rdi), %xmm11\n movups 96(%rdi), %xmm13\n movups 112(%rdi), %xmm15\n"
        ".set at, 0\n"
        ".rept 16\n"
        "    movq $0, at(%rdi)\n"
        "    .set at, at + 8\n"
        ".endr\n"
        "    movl $1, (%rsi)\n"
        "1:  pause\n"
        "    cmpl $0, (%rdx)\n"
        "    je 1b\n"
        "    ret\n"
        ".size move_to_vector, .-move_to_vector\n");
extern void move_to_vector(void *volatile *from, volatile int *holding, volatile int *may_go);

static void *hold_in_general(void *unused)
{
    (void)unused;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    move_to_general(slots, &holding, &may_go);
    return NULL;
}

static void *hold_in_vector(void *unused)
{
    (void)unused;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    move_to_vector(slots, &holding, &may_go);
    return NULL;
}

static int general(void)
{
    return audit_beside(hold_in_general);
}

static int vector(void)
{
    return audit_beside(hold_in_vector);
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {{"general", general}, {"vector", vector}, {NULL, NULL}};
    return run_case(argc, argv, cases);
}
