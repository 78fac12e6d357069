/* Threads wait in every way there is while the main thread audits again and again. No wait may end with EINTR, none may be lost: those for an
 * event end by it, those for a time end by the time. Prints one line a wait that went wrong.
 *
 *     snapshot_waits AUDITS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern int gcshim_audit(void) __attribute__((weak));

/* Milliseconds: longer than a few audits, so that several fall into it. */
#define SHORT_MS 300

static int wake_pipe[2];
static int wake_sockets[2];
static sem_t wake_semaphore, never_posted;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER, never_signalled = PTHREAD_COND_INITIALIZER;
static int signalled;
static atomic_int futex_word;
static int message_queue, semaphores;

static struct timespec relative_ms(int ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
}

static struct timespec absolute_ms(clockid_t clock, int ms)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms % 1000 * 1000000L;
    t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    return t;
}

/* Each wait returns 0 if it ended as it should, or an errno. */
static int check(int ok)
{
    return ok ? 0 : errno ? errno : -1;
}

/* Waits for a time. */

static int poll_time(void)
{
    struct pollfd fd = {.fd = -1};
    return check(poll(&fd, 1, SHORT_MS) == 0);
}

static int ppoll_time(void)
{
    struct timespec t = relative_ms(SHORT_MS);
    return check(ppoll(NULL, 0, &t, NULL) == 0);
}

static int select_time(void)
{
    struct timeval t = {.tv_usec = SHORT_MS * 1000};
    return check(select(0, NULL, NULL, NULL, &t) == 0);
}

static int pselect_time(void)
{
    struct timespec t = relative_ms(SHORT_MS);
    return check(pselect(0, NULL, NULL, NULL, &t, NULL) == 0);
}

static int epoll_time(void)
{
    struct epoll_event event;
    int fd = epoll_create1(EPOLL_CLOEXEC), error = check(epoll_wait(fd, &event, 1, SHORT_MS) == 0);
    close(fd);
    return error;
}

static int nanosleep_time(void)
{
    struct timespec t = relative_ms(SHORT_MS);
    return check(nanosleep(&t, NULL) == 0);
}

static int nanosleep_remainder(void)
{
    struct timespec t = relative_ms(SHORT_MS), left;
    return check(nanosleep(&t, &left) == 0);
}

static int clock_nanosleep_time(void)
{
    struct timespec t = relative_ms(SHORT_MS);
    errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    return errno;
}

static int clock_nanosleep_moment(void)
{
    struct timespec t = absolute_ms(CLOCK_MONOTONIC, SHORT_MS);
    errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    return errno;
}

static int usleep_time(void)
{
    return check(usleep(SHORT_MS * 1000) == 0);
}

static int sem_timedwait_time(void)
{
    struct timespec t = absolute_ms(CLOCK_REALTIME, SHORT_MS);
    return check(sem_timedwait(&never_posted, &t) == -1 && errno == ETIMEDOUT);
}

static int cond_time(void)
{
    struct timespec t = absolute_ms(CLOCK_REALTIME, SHORT_MS);
    pthread_mutex_lock(&mutex);
    int result;
    do
        result = pthread_cond_timedwait(&never_signalled, &mutex, &t);
    while (result == 0);
    pthread_mutex_unlock(&mutex);
    return result == ETIMEDOUT ? 0 : result;
}

static int sigtimedwait_time(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct timespec t = relative_ms(SHORT_MS);
    return check(sigtimedwait(&set, NULL, &t) == -1 && errno == EAGAIN);
}

static int semtimedop_time(void)
{
    struct sembuf down = {.sem_num = 0, .sem_op = -1};
    struct timespec t = relative_ms(SHORT_MS);
    return check(semtimedop(semaphores, &down, 1, &t) == -1 && errno == EAGAIN);
}

static int recv_time(void)
{
    int pair[2];
    char byte;
    struct timeval t = {.tv_usec = SHORT_MS * 1000};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) != 0)
        return errno;
    int error = check(recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
    close(pair[0]);
    close(pair[1]);
    return error;
}

/* Waits for an event that comes after the audits. */

static int read_event(void)
{
    char byte;
    return check(read(wake_pipe[0], &byte, 1) == 1);
}

static int poll_event(void)
{
    struct pollfd fd = {.fd = wake_sockets[0], .events = POLLIN};
    return check(poll(&fd, 1, -1) == 1);
}

static int poll_event_long(void)
{
    struct pollfd fd = {.fd = wake_sockets[0], .events = POLLIN};
    return check(poll(&fd, 1, 100 * 1000) == 1);
}

static int select_event(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(wake_sockets[0], &set);
    return check(select(wake_sockets[0] + 1, &set, NULL, NULL, NULL) == 1);
}

static int epoll_event_wait(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(fd, EPOLL_CTL_ADD, wake_sockets[0], &event);
    int error = check(epoll_wait(fd, &event, 1, -1) == 1);
    close(fd);
    return error;
}

static int recv_event(void)
{
    char byte;
    return check(recv(wake_sockets[0], &byte, 1, MSG_PEEK) == 1);
}

static int sem_event(void)
{
    return check(sem_wait(&wake_semaphore) == 0);
}

static int sem_timed_event(void)
{
    struct timespec t = absolute_ms(CLOCK_REALTIME, 100 * 1000);
    return check(sem_timedwait(&wake_semaphore, &t) == 0);
}

static int cond_event(void)
{
    pthread_mutex_lock(&mutex);
    while (!signalled)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    return 0;
}

/* Made as the C library makes it, and not through syscall(2), whose users expect EINTR of a futex. */
static int futex_event(void)
{
#if defined(__x86_64__)
    while (atomic_load(&futex_word) == 0) {
        long result;
        register long timeout __asm__("r10") = 0;
        __asm__ volatile("movl %1, %%eax\n syscall"
                         : "=&a"(result)
                         : "i"(SYS_futex), "D"(&futex_word), "S"(FUTEX_WAIT_PRIVATE), "d"(0), "r"(timeout)
                         : "rcx", "r11", "memory");
        if (result != 0 && result != -EAGAIN)
            return (int)-result;
    }
#endif
    return 0;
}

static int message_event(void)
{
    struct {
        long type;
        char text[1];
    } message;
    return check(msgrcv(message_queue, &message, 1, 1, 0) == 1);
}

static int flock_event(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    int error = check(flock(fd, LOCK_EX) == 0);
    close(fd);
    return error;
}

static int sigwait_event(void)
{
    /* Everything that can be named: a stop signal among it would end this wait. */
    sigset_t set;
    int got = 0;
    sigfillset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    sigwait(&set, &got);
    return got == SIGUSR2 ? 0 : 10000 + got;
}

#define WAIT(f) {#f, f, 0, 0}

static struct wait {
    const char *name;
    int (*wait)(void);
    pthread_t thread;
    int result;
} times[] = {WAIT(poll_time), WAIT(ppoll_time), WAIT(select_time), WAIT(pselect_time), WAIT(epoll_time), WAIT(nanosleep_time),
             WAIT(nanosleep_remainder), WAIT(clock_nanosleep_time), WAIT(clock_nanosleep_moment), WAIT(usleep_time),
             WAIT(sem_timedwait_time), WAIT(cond_time), WAIT(sigtimedwait_time), WAIT(semtimedop_time), WAIT(recv_time)},
  events[] = {WAIT(read_event), WAIT(poll_event), WAIT(poll_event_long), WAIT(select_event), WAIT(epoll_event_wait), WAIT(recv_event),
              WAIT(sem_event), WAIT(sem_timed_event), WAIT(cond_event), WAIT(futex_event), WAIT(message_event), WAIT(flock_event),
              WAIT(sigwait_event)};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static atomic_int times_running = COUNT(times), events_running = COUNT(events);

static void *wait_time(void *data)
{
    struct wait *wait = data;
    wait->result = wait->wait();
    times_running--;
    return NULL;
}

static void *wait_event(void *data)
{
    struct wait *wait = data;
    wait->result = wait->wait();
    events_running--;
    return NULL;
}

static int start(struct wait *list, size_t n, void *(*run)(void *))
{
    for (size_t i = 0; i < n; i++)
        if (pthread_create(&list[i].thread, NULL, run, &list[i]) != 0)
            return -1;
    return 0;
}

static int finish(struct wait *list, size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        pthread_join(list[i].thread, NULL);
        if (list[i].result != 0) {
            printf("%s: %d (%s)\n", list[i].name, list[i].result, strerror(list[i].result));
            wrong = 1;
        }
    }
    return wrong;
}

int main(int argc, char **argv)
{
    int audits = argc < 2 ? 0 : atoi(argv[1]);
    int lock = open("/proc/self/exe", O_RDONLY);
    if (gcshim_audit == NULL || pipe(wake_pipe) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, wake_sockets) != 0 ||
        sem_init(&wake_semaphore, 0, 0) != 0 || sem_init(&never_posted, 0, 0) != 0 ||
        (message_queue = msgget(IPC_PRIVATE, 0600)) < 0 || (semaphores = semget(IPC_PRIVATE, 1, 0600)) < 0 ||
        semctl(semaphores, 0, SETVAL, 0) != 0 || flock(lock, LOCK_EX) != 0)
        return 2;
    if (start(events, COUNT(events), wait_event) != 0 || start(times, COUNT(times), wait_time) != 0)
        return 2;
    int wrong = 0;
    /* At least so many, and for as long as somebody still waits for a time. */
    for (int i = 0; i < audits || times_running > 0; i++)
        if (gcshim_audit() != 0) {
            printf("audit %d found something or failed\n", i);
            wrong = 1;
            break;
        }
    wrong |= finish(times, COUNT(times));
    if (events_running != (int)COUNT(events)) {
        printf("a wait ended before its event\n");
        wrong = 1;
    }

    char byte = 1;
    struct {
        long type;
        char text[1];
    } message = {1, {0}};
    wrong |= write(wake_pipe[1], &byte, 1) != 1 || write(wake_sockets[1], &byte, 1) != 1;
    sem_post(&wake_semaphore);
    sem_post(&wake_semaphore);
    pthread_mutex_lock(&mutex);
    signalled = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    futex_word = 1;
    syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 100);
    msgsnd(message_queue, &message, 1, 0);
    flock(lock, LOCK_UN);
    pthread_kill(events[COUNT(events) - 1].thread, SIGUSR2);
    /* Audits go on while they wake up. */
    while (events_running > 0)
        gcshim_audit();
    wrong |= finish(events, COUNT(events));
    msgctl(message_queue, IPC_RMID, NULL);
    semctl(semaphores, 0, IPC_RMID);
    return wrong;
}
