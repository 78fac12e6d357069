/* Audits where the system refuses something. The program itself goes on.
 *
 *     snapshot_denied CASE N
 *
 * proc      nothing can be opened for reading, so neither /proc/self/maps nor /proc/self/task; the report still can be written
 * files     nothing can be opened at all
 * clone     no process can be made by a plain clone
 * signal    no signal can be queued to a thread
 * handler   the stop signal's handler cannot be installed
 * memory    the address space is at its limit
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "roots.h"

#define NUMBER offsetof(struct seccomp_data, nr)
/* The lower half of an argument; both machines are little-endian. */
#define ARGUMENT(n) offsetof(struct seccomp_data, args[n])
#define DENIED BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES)
#define ALLOWED BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void install(struct sock_filter *code, size_t n)
{
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("seccomp");
        exit(4);
    }
}

#define INSTALL(...)                                       \
    do {                                                   \
        struct sock_filter code[] = {__VA_ARGS__};         \
        install(code, sizeof code / sizeof *code);         \
    } while (0)

/* With a second thread, which has to be stopped and whose frame holds something. */
static int audit_and_go_on(void)
{
    int status = audit_beside(hold_in_frame);
    /* The heap works as before. */
    for (size_t i = 1; i < 100000; i = i * 3 / 2 + 1)
        free(new_block(i));
    return status == 3 ? 0 : status;
}

static int proc(void)
{
    INSTALL(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_ACCMODE, 1, 0), DENIED, ALLOWED);
    return audit_and_go_on();
}

static int files(void)
{
    INSTALL(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1), DENIED, ALLOWED);
    return audit_and_go_on();
}

static int no_clone(void)
{
    /* Without flags: the C library's threads and processes are made with some. */
    INSTALL(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(0)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), DENIED, ALLOWED);
    return audit_and_go_on();
}

static int no_signal(void)
{
    INSTALL(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_tgsigqueueinfo, 0, 1), DENIED,
            ALLOWED);
    return audit_and_go_on();
}

static int no_handler(void)
{
    INSTALL(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NUMBER), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(0)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 33, 0, 1), DENIED, ALLOWED);
    return audit_and_go_on();
}

static int memory(void)
{
    /* What is there may stay; nothing can be added. */
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    void *volatile slots[HELD_MAX] = {NULL};
    fill(slots, held_count);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 4;
    int status = audit();
    __asm__ volatile("" : : "r"(slots) : "memory");
    return status == 3 ? 0 : status;
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {{"proc", proc},         {"files", files},     {"clone", no_clone}, {"signal", no_signal},
                                             {"handler", no_handler}, {"memory", memory}, {NULL, NULL}};
    return run_case(argc, argv, cases);
}
