/* A timer of 1 kHz interrupts the program while it is audited.
 *
 *     snapshot_storm AUDITS
 *
 * The main thread waits for signals with calls that only a signal ends: if one of its interruptions were taken away, and no other
 * came, it would wait for ever. A worker blocks the signal: its calls must not be interrupted at all. The audits run on a third thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern int gcshim_audit(void) __attribute__((weak));

static atomic_int stop, wrong;
static volatile sig_atomic_t ticks;
static int audits;
static int never[2];

static void on_tick(int signal)
{
    (void)signal;
    ticks++;
    /* Handlers find errno as they left it. */
    errno = EBADMSG;
}

static void block_tick(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *work(void *unused)
{
    (void)unused;
    block_tick();
    while (!stop) {
        struct timespec t = {.tv_nsec = 20 * 1000 * 1000};
        struct pollfd fd = {.fd = never[0], .events = POLLIN};
        if (poll(&fd, 1, 20) != 0 || nanosleep(&t, NULL) != 0) {
            printf("a call of the worker was interrupted (errno %d)\n", errno);
            wrong = 1;
        }
    }
    return NULL;
}

static void *audit(void *unused)
{
    (void)unused;
    block_tick();
    for (int i = 0; i < audits; i++)
        if (gcshim_audit() != 0) {
            printf("audit %d found something or failed\n", i);
            wrong = 1;
        }
    stop = 1;
    return NULL;
}

static void expect_eintr(int result, const char *call)
{
    if (result != -1 || errno != EINTR) {
        printf("%s: %d (errno %d)\n", call, result, errno);
        wrong = 1;
    }
}

int main(int argc, char **argv)
{
    audits = argc < 2 ? 0 : atoi(argv[1]);
    pthread_t worker, auditor;
    struct sigaction action = {.sa_handler = on_tick};
    struct itimerval interval = {.it_value = {.tv_usec = 1000}, .it_interval = {.tv_usec = 1000}};
    if (gcshim_audit == NULL || pipe(never) != 0 || sigaction(SIGALRM, &action, NULL) != 0 ||
        pthread_create(&worker, NULL, work, NULL) != 0 || pthread_create(&auditor, NULL, audit, NULL) != 0 ||
        setitimer(ITIMER_REAL, &interval, NULL) != 0)
        return 2;
    char byte;
    struct pollfd fd = {.fd = never[0], .events = POLLIN};
    while (!stop) {
        expect_eintr(pause(), "pause");
        expect_eintr(poll(&fd, 1, -1), "poll");
        expect_eintr(select(0, NULL, NULL, NULL, NULL), "select");
        expect_eintr(read(never[0], &byte, 1), "read");
    }
    pthread_join(auditor, NULL);
    pthread_join(worker, NULL);
    return wrong || ticks == 0;
}
