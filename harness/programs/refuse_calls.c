/* Runs a program and refuses it one system call, or all from one on. A supervisor counts the calls of the program, its threads and its
 * children in the order in which the kernel sees them (a seccomp filter that asks), so that every call can be refused in turn.
 *
 *     refuse_calls memory|any one|from N FIRST PROGRAM ARGUMENT...
 *
 * memory  calls for memory: anonymous mmap of the two kinds that the shim makes (private without reservation, shared), and mremap; refused
 *         with ENOMEM
 * any     every call but those that end a process or a handler, wait for a word in memory, or register a thread; refused with EPERM
 * one     only number N is refused, from number N on all are. 0 refuses none
 * FIRST   start: counts from the program's start. mark: counts while the program is between getpriority(MARK, 1) and getpriority(MARK, 0)
 *
 * Exit status and signal are the program's. The numbers go into the file that REFUSE_COUNTS names, with that of the last call that was refused
 * (as in asm/unistd.h): "calls 123 refused 1 last 9".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK 0x6763
#define COUNT(array) (sizeof array / sizeof *array)

#define NUMBER offsetof(struct seccomp_data, nr)
#define ARGUMENT(n) offsetof(struct seccomp_data, args[n])
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ASK BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct sock_filter memory_filter[] = {
    LOAD(NUMBER),
    IF_EQUAL(SYS_getpriority, 0, 2), LOAD(ARGUMENT(0)), IF_EQUAL(MARK, 7, 8),
    IF_EQUAL(SYS_mremap, 6, 0),
    IF_EQUAL(SYS_mmap, 0, 6),
    LOAD(ARGUMENT(3)),
    IF_EQUAL(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, 3, 0),
    IF_EQUAL(MAP_SHARED | MAP_ANONYMOUS, 2, 0),
    ALLOW, ALLOW,
    ASK,
    ALLOW,
};

/* Without these a process cannot end, or a signal handler cannot return, or a lock of the C library would seem free, or a thread of the C
 * library's ends the process at its start. */
static struct sock_filter any_filter[] = {
    LOAD(NUMBER),
    IF_EQUAL(SYS_exit, 6, 0), IF_EQUAL(SYS_exit_group, 5, 0), IF_EQUAL(SYS_rt_sigreturn, 4, 0), IF_EQUAL(SYS_futex, 3, 0),
    IF_EQUAL(SYS_execve, 2, 0), IF_EQUAL(SYS_rseq, 1, 0),
    ASK,
    ALLOW,
};

static struct shared {
    _Atomic int listener;
    char **command;
} *shared;

static int start(void *filter)
{
    struct sock_fprog *program = filter;
    long listener = -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, program);
    /* Told without a system call: the next one may already have to be asked for. The descriptor is the supervisor's as well. */
    shared->listener = (int)listener;
    if (listener < 0)
        _exit(125);
    execv(shared->command[0], shared->command);
    _exit(126);
}

static unsigned long calls, refused;
static int last;

static void serve(int listener, int error, int only_one, unsigned long wanted, int *counting)
{
    static struct seccomp_notif call;
    static struct seccomp_notif_resp answer;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
        return;
    memset(&answer, 0, sizeof answer);
    answer.id = call.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (call.data.nr == SYS_getpriority && (uint32_t)call.data.args[0] == MARK) {
        *counting = call.data.args[1] != 0;
    } else if (*counting) {
        calls++;
        if (wanted != 0 && (only_one ? calls == wanted : calls >= wanted)) {
            refused++;
            last = call.data.nr;
            answer.flags = 0;
            answer.error = -error;
        }
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

int main(int count, char **arguments)
{
    if (count < 6)
        return 127;
    int any = !strcmp(arguments[1], "any"), only_one = !strcmp(arguments[2], "one"), counting = !strcmp(arguments[4], "start");
    unsigned long wanted = strtoul(arguments[3], NULL, 10);
    struct sock_fprog program = any ? (struct sock_fprog){COUNT(any_filter), any_filter}
                                    : (struct sock_fprog){COUNT(memory_filter), memory_filter};
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static char stack[1 << 16] __attribute__((aligned(16)));
    shared->listener = 0;
    shared->command = arguments + 5;
    /* Descriptors in common until the exec, so that the listener is here too. */
    int child = clone(start, stack + sizeof stack, CLONE_FILES | SIGCHLD, &program);
    if (child < 0)
        return 127;
    while (shared->listener == 0)
        sched_yield();
    if (shared->listener < 0)
        return 124;
    int process = (int)syscall(SYS_pidfd_open, child, 0);
    struct pollfd ready[2] = {{.fd = shared->listener, .events = POLLIN}, {.fd = process, .events = POLLIN}};
    while (poll(ready, 2, -1) > 0) {
        if (ready[0].revents & POLLIN)
            serve(shared->listener, any ? EPERM : ENOMEM, only_one, wanted, &counting);
        /* What outlives the program (a snapshot's process) is served until its end. */
        if (ready[1].revents & POLLIN)
            ready[1].fd = -1;
        if (ready[0].revents & POLLHUP && ready[1].fd == -1)
            break;
    }
    int status;
    waitpid(child, &status, 0);
    const char *counts = getenv("REFUSE_COUNTS");
    FILE *file = counts ? fopen(counts, "w") : NULL;
    if (file) {
        fprintf(file, "calls %lu refused %lu last %d\n", calls, refused, last);
        fclose(file);
    }
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}
