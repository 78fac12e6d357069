/* Threads that are hard to stop, or cannot be stopped, hold blocks that nothing else holds.
 *
 *     snapshot_unstopped CASE N
 *
 * filled     blocks every signal that the C library lets it block, and keeps pointers in registers: stopped all the same
 * raw        blocks every signal by the system call; pointers in its frame
 * argument   the same, and the only pointer to a block is the buffer of its read
 * frozen     waits in vfork for a child that is stopped, so it cannot be interrupted; pointers in its frame
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roots.h"

static void *hold_filled(void *unused)
{
    (void)unused;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    return hold_in_frame(NULL);
}

static void block_all(void)
{
    uint64_t all = ~(uint64_t)0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all) != 0)
        abort();
}

static void *hold_raw(void *unused)
{
    (void)unused;
    block_all();
    return hold_in_frame(NULL);
}

static int channel[2];

static void *hold_argument(void *unused)
{
    (void)unused;
    block_all();
    void *volatile block[1];
    fill(block, 1);
    wipe();
    holding = 1;
#if defined(__x86_64__)
    /* The pointer moves into the register that passes it, and is nowhere else. */
    long result;
    __asm__ volatile("movq (%[slot]), %%rsi\n movq $0, (%[slot])\n xorl %%ecx, %%ecx\n syscall"
                     : "=a"(result)
                     : "0"((long)SYS_read), "D"((long)channel[0]), "d"(1L), [slot] "r"(block)
                     : "rsi", "rcx", "r11", "memory");
    if (result != 1)
        abort();
#endif
    return NULL;
}

static void *hold_frozen(void *unused)
{
    (void)unused;
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    wipe();
    holding = 1;
    /* The child of vfork runs in this frame, and the thread waits until it is gone. */
    pid_t child = vfork();
    if (child == 0) {
        char byte;
        _exit(read(channel[0], &byte, 1) != 1);
    }
    int status;
    waitpid(child, &status, 0);
    STILL_USED(slots);
    return NULL;
}

static int beside(void *(*holder)(void *), int settle)
{
    pthread_t thread;
    if (pipe(channel) != 0 || pthread_create(&thread, NULL, holder, NULL) != 0)
        abort();
    while (!holding)
        sched_yield();
    /* It has said that it is about to enter its system call; give it time to be there. If it is not, the case is only easier. */
    if (settle)
        usleep(100000);
    int status = audit();
    may_go = 1;
    if (write(channel[1], "x", 1) != 1)
        abort();
    pthread_join(thread, NULL);
    return status;
}

static int filled(void)
{
    return beside(hold_filled, 0);
}

static int raw(void)
{
    return beside(hold_raw, 0);
}

static int argument(void)
{
    return beside(hold_argument, 1);
}

static int frozen(void)
{
    return beside(hold_frozen, 1);
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {{"filled", filled}, {"raw", raw}, {"argument", argument}, {"frozen", frozen}, {NULL, NULL}};
    return run_case(argc, argv, cases);
}
