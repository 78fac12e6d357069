/* Runs a program where the system forbids, or does not have, what tools that look into processes like to use.
 *
 *     confined sandbox PROGRAM ARGUMENT...        perf_event_open, ptrace, process_vm_readv and their like end the process at once (seccomp)
 *     confined no-proc PROGRAM ARGUMENT...        /proc is an empty folder
 *     confined small-disk DIR PROGRAM ARGUMENT... DIR is a file system of 64 KiB
 *
 * Status 77: this user may not do that here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CANNOT 77
#define COUNT(array) (sizeof array / sizeof *array)

static const unsigned forbidden[] = {
    SYS_perf_event_open, SYS_ptrace,     SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf,  SYS_userfaultfd,      SYS_kcmp,
    SYS_pidfd_getfd,     SYS_process_madvise, SYS_io_uring_setup, SYS_mount,          SYS_setns, SYS_unshare,          SYS_personality,
    SYS_keyctl,          SYS_add_key,    SYS_move_pages,       SYS_mbind,             SYS_memfd_create,
};

static int sandbox(void)
{
    struct sock_filter code[2 * COUNT(forbidden) + 2];
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT(forbidden); i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Mounts of our own: as root, or as root of a user name space of our own. */
static int own_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return 0;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

int main(int count, char **arguments)
{
    const char *what = count > 2 ? arguments[1] : "";
    int rest = 2;
    if (!strcmp(what, "sandbox")) {
        if (!sandbox())
            return CANNOT;
    } else if (!strcmp(what, "no-proc")) {
        if (!own_mounts() || mount("none", "/proc", "tmpfs", 0, NULL) != 0)
            return CANNOT;
    } else if (!strcmp(what, "small-disk")) {
        if (!own_mounts() || mount("none", arguments[2], "tmpfs", 0, "size=64k") != 0)
            return CANNOT;
        rest = 3;
    }
    if (rest >= count)
        return 2;
    execv(arguments[rest], arguments + rest);
    perror(arguments[rest]);
    return 2;
}
