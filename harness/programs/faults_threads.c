/* Audits while threads die, modules come and go, signals rain, and the process itself ends. Prints what is wrong, and ends with status 5.
 *
 *     faults_threads dying AUDITS             threads end in every way that there is, with blocks in their hands until the last moment
 *     faults_threads signals AUDITS           a timer interrupts malloc and free on every thread, as often as the kernel does
 *     faults_threads modules AUDITS LIBRARY   two threads load and unload a library that holds a block and takes memory at both
 *     faults_threads main-gone AUDITS         the main thread has ended
 *     faults_threads exit AUDITS              exit() on the main thread while another audits
 *     faults_threads exec AUDITS [FUNCTION]   becomes another program on the main thread while another audits; FUNCTION is execl by default
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

extern int gcshim_audit(void) __attribute__((weak));

static int audits;
static const char *library;
static atomic_int stop, wrong, rounds;

static void say(const char *what, int number)
{
    printf("%s (%d)\n", what, number);
    fflush(stdout);
    wrong = 1;
}

static void *new_block(void)
{
    void *block = malloc(1237);
    if (block == NULL)
        abort();
    return memset(block, 0x5a, 1237);
}

static void audit_all(void)
{
    for (int i = 0; i < audits; i++) {
        int answer = gcshim_audit();
        if (answer != 0)
            say("an audit found something or failed", answer);
    }
}

/* The other threads go on until all audits are done, and have done something. */
static int audit_beside(void *(*work)(void *), int threads)
{
    pthread_t all[8];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, work, NULL) != 0)
            return 2;
    while (rounds == 0)
        sched_yield();
    audit_all();
    stop = 1;
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], NULL);
    return wrong ? 1 : 5;
}

static pthread_key_t last_moment;

static void at_end(void *block)
{
    void *volatile another = new_block();
    free(block);
    free(another);
}

static void *dies(void *way)
{
    void *volatile held = new_block();
    pthread_setspecific(last_moment, new_block());
    sched_yield();
    switch ((int)(size_t)way) {
    case 1:
        free(held);
        pthread_exit(NULL);
    case 2:
        free(held);
        for (;;)
            pause();
    case 3:
        /* Without the C library: no destructor runs. */
        free(held);
        free(pthread_getspecific(last_moment));
        syscall(SYS_exit, 0);
    }
    free(held);
    return NULL;
}

static void *kill_threads(void *unused)
{
    (void)unused;
    while (!stop) {
        pthread_t threads[4], gone;
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&gone, &detached, dies, NULL) != 0)
            say("a thread could not be made", 0);
        pthread_attr_destroy(&detached);
        for (size_t way = 0; way < 4; way++)
            if (pthread_create(&threads[way], NULL, dies, (void *)way) != 0)
                abort();
        pthread_cancel(threads[2]);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        rounds++;
    }
    return NULL;
}

static int dying(void)
{
    if (pthread_key_create(&last_moment, at_end) != 0)
        return 2;
    return audit_beside(kill_threads, 3);
}

static volatile sig_atomic_t ticks;

static void on_tick(int signal)
{
    (void)signal;
    ticks++;
}

static void *churn(void *unused)
{
    (void)unused;
    enum { BLOCKS = 200 };
    unsigned char *volatile blocks[BLOCKS] = {NULL};
    size_t sizes[BLOCKS];
    unsigned long seed = (unsigned long)pthread_self();
    while (!stop) {
        seed = seed * 6364136223846793005ul + 1442695040888963407ul;
        size_t i = (seed >> 33) % BLOCKS, size = 1 + (seed >> 43) % 2000;
        for (size_t j = 0; blocks[i] && j < sizes[i]; j++)
            if (blocks[i][j] != (unsigned char)i) {
                say("a block's contents have changed", (int)i);
                return NULL;
            }
        free(blocks[i]);
        blocks[i] = malloc(size);
        memset(blocks[i], (int)i, size);
        sizes[i] = size;
        rounds++;
    }
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return NULL;
}

static int signals(void)
{
    struct sigaction action = {.sa_handler = on_tick};
    struct itimerval every = {{0, 50}, {0, 50}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    int status = audit_beside(churn, 3);
    if (ticks == 0)
        say("no signal came", 0);
    return status;
}

static void *load_and_unload(void *unused)
{
    (void)unused;
    while (!stop) {
        void *handle = dlopen(library, RTLD_NOW);
        void *volatile *held = handle ? dlsym(handle, "held") : NULL;
        if (held == NULL) {
            say("the library cannot be loaded", 0);
            return NULL;
        }
        if (dlclose(handle) != 0)
            say("the library cannot be unloaded", 0);
        rounds++;
    }
    return NULL;
}

static int modules(void) { return audit_beside(load_and_unload, 2); }

static void *audit_and_exit(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    audit_all();
    exit(wrong ? 1 : 5);
}

static int main_gone(void)
{
    static pthread_t main_thread, thread;
    main_thread = pthread_self();
    if (pthread_create(&thread, NULL, audit_and_exit, &main_thread) != 0)
        return 2;
    pthread_exit(NULL);
}

static void *audit_for_ever(void *unused)
{
    for (;;) {
        int answer = gcshim_audit();
        if (answer != 0)
            say("an audit found something or failed", answer);
        rounds++;
    }
    return unused;
}

/* The n-th time a little later after the start of an audit than before. */
static int end_amid_audits(int (*end)(void))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, audit_for_ever, NULL) != 0)
        return 2;
    while (rounds < 2)
        sched_yield();
    usleep((useconds_t)audits * 200);
    return wrong ? 1 : end();
}

static int end_by_exit(void) { exit(5); }

static int end_by_exec(void)
{
    /* Ten arguments and more: not all of them come in registers. All must arrive. */
#define SCRIPT "[ \"$*\" = '1 2 3 4 5 6 7 8' ] && [ -z \"$SET\" ] && exit 5; exit 4"
#define SCRIPT_SET "[ \"$*\" = '1 2 3 4 5 6 7 8' ] && [ \"$SET\" = yes ] && exit 5; exit 4"
#define ARGUMENTS(script) "sh", "-c", script, "sh", "1", "2", "3", "4", "5", "6", "7", "8", NULL
    char *plain[] = {ARGUMENTS(SCRIPT)}, *set[] = {ARGUMENTS(SCRIPT_SET)}, *environment[] = {"SET=yes", NULL};
    const char *function = library ? library : "execl";
    /* One that fails comes back, and the audits go on. */
    if (execl("/nonexistent", "nothing", NULL) != -1 || errno != ENOENT)
        return 3;
    int before = rounds;
    while (rounds < before + 2)
        sched_yield();
    if (!strcmp(function, "execl"))
        execl("/bin/sh", ARGUMENTS(SCRIPT));
    if (!strcmp(function, "execlp"))
        execlp("sh", ARGUMENTS(SCRIPT));
    if (!strcmp(function, "execle"))
        execle("/bin/sh", ARGUMENTS(SCRIPT_SET), environment);
    if (!strcmp(function, "execv"))
        execv("/bin/sh", plain);
    if (!strcmp(function, "execvp"))
        execvp("sh", plain);
    if (!strcmp(function, "execve"))
        execve("/bin/sh", set, environment);
    if (!strcmp(function, "execvpe"))
        execvpe("sh", set, environment);
    int shell = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    if (!strcmp(function, "fexecve"))
        fexecve(shell, set, environment);
    if (!strcmp(function, "execveat"))
        execveat(shell, "", set, environment, AT_EMPTY_PATH);
    return 2;
}

int main(int count, char **arguments)
{
    const char *what = count > 2 ? arguments[1] : "";
    audits = count > 2 ? atoi(arguments[2]) : 0;
    library = count > 3 ? arguments[3] : NULL;
    if (gcshim_audit == NULL)
        return 2;
    if (!strcmp(what, "dying"))
        return dying();
    if (!strcmp(what, "signals"))
        return signals();
    if (!strcmp(what, "modules"))
        return modules();
    if (!strcmp(what, "main-gone"))
        return main_gone();
    if (!strcmp(what, "exit"))
        return end_amid_audits(end_by_exit);
    if (!strcmp(what, "exec"))
        return end_amid_audits(end_by_exec);
    return 2;
}
