/* What a program can see of its children, signals, descriptors and timers is the same before and after audits. Prints what is not.
 *
 *     snapshot_invisible CASE
 *
 * children  a handler for SIGCHLD counts, and every form of wait looks
 * waiting   one thread waits for a child of ours while another audits
 * ignored   the same with SIGCHLD ignored
 * state     signals' actions, masks, alternate stack, descriptors, timers, limits
 * exit      audits, then exits with 3
 * killed    audits, then dies of SIGTERM
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern int gcshim_audit(void) __attribute__((weak));

#define AUDITS 20

static volatile sig_atomic_t children_ended;
static int wrong;

static void on_child(int signal)
{
    (void)signal;
    children_ended++;
}

static void expect(int ok, const char *what)
{
    if (!ok) {
        printf("%s (errno %d)\n", what, errno);
        wrong = 1;
    }
}

static void audits(void)
{
    for (int i = 0; i < AUDITS; i++)
        expect(gcshim_audit() == 0, "an audit found something or failed");
}

static void nobody_to_wait_for(void)
{
    siginfo_t info;
    int status;
    expect(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD, "waitpid(-1) sees a child");
    expect(waitpid(0, &status, WNOHANG | WUNTRACED | WCONTINUED) == -1 && errno == ECHILD, "waitpid(0) sees a child");
    expect(waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) == -1 && errno == ECHILD, "waitid(P_ALL) sees a child");
    expect(wait(&status) == -1 && errno == ECHILD, "wait sees a child");
}

static int children(void)
{
    signal(SIGCHLD, on_child);
    audits();
    nobody_to_wait_for();
    expect(children_ended == 0, "SIGCHLD came");
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    /* Its signal may come during any of these. */
    audits();
    int status = 0;
    expect(waitpid(-1, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7, "the program's own child is not what wait gives");
    nobody_to_wait_for();
    expect(children_ended == 1, "SIGCHLD did not come once");
    return 0;
}

static volatile int found = 1;

static void *audit_until_found(void *unused)
{
    (void)unused;
    do
        gcshim_audit();
    while (!found);
    return NULL;
}

static int waiting(void)
{
    for (int round = 0; round < 10; round++) {
        pthread_t thread;
        int go[2], status;
        char byte;
        expect(pipe(go) == 0, "pipe");
        pid_t child = fork();
        if (child == 0)
            _exit(read(go[0], &byte, 1) == 1 ? 5 : 6);
        found = 0;
        pthread_create(&thread, NULL, audit_until_found, NULL);
        usleep(10000);
        expect(write(go[1], "x", 1) == 1, "write");
        expect(waitpid(-1, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 5, "waitpid(-1) while auditing");
        found = 1;
        pthread_join(thread, NULL);
        close(go[0]);
        close(go[1]);
    }
    nobody_to_wait_for();
    return 0;
}

static int ignored(void)
{
    signal(SIGCHLD, SIG_IGN);
    audits();
    nobody_to_wait_for();
    return 0;
}

static int descriptors(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

struct state {
    struct {
        void (*handler)(int);
        int flags;
        uint64_t mask;
    } actions[65];
    sigset_t mask, pending;
    stack_t stack;
    struct itimerval timers[3];
    struct rlimit core, files;
    int descriptors;
};

static void take(struct state *s)
{
    memset(s, 0, sizeof *s);
    for (int i = 1; i <= 64; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) != 0)
            continue;
        s->actions[i].handler = action.sa_handler;
        s->actions[i].flags = action.sa_flags;
        memcpy(&s->actions[i].mask, &action.sa_mask, sizeof s->actions[i].mask);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
    sigpending(&s->pending);
    sigaltstack(NULL, &s->stack);
    for (int i = 0; i < 3; i++) {
        getitimer(i, &s->timers[i]);
        s->timers[i].it_value = (struct timeval){0};
    }
    getrlimit(RLIMIT_CORE, &s->core);
    getrlimit(RLIMIT_NOFILE, &s->files);
    s->descriptors = descriptors();
}

static void on_signal(int signal)
{
    (void)signal;
}

static int state(void)
{
    static struct state before, after;
    static char area[64 * 1024];
    stack_t stack = {.ss_sp = area, .ss_size = sizeof area};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    struct itimerval hour = {.it_value = {.tv_sec = 3600}, .it_interval = {.tv_sec = 3600}};
    setitimer(ITIMER_REAL, &hour, NULL);
    take(&before);
    audits();
    take(&after);
    expect(memcmp(&before, &after, sizeof before) == 0, "something changed");
    expect(before.descriptors == after.descriptors, "descriptors changed");
    expect(sigismember(&after.pending, SIGUSR1) == 1, "a pending signal is lost");
    return 0;
}

static int ends_by_exit(void)
{
    audits();
    exit(wrong ? 1 : 3);
}

static int killed(void)
{
    audits();
    fflush(stdout);
    if (!wrong)
        kill(getpid(), SIGTERM);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {{"children", children}, {"waiting", waiting},   {"ignored", ignored},
                 {"state", state},       {"exit", ends_by_exit}, {"killed", killed}};
    for (size_t i = 0; argc == 2 && gcshim_audit != NULL && i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run();
            return wrong;
        }
    return 2;
}
