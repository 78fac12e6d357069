// Allocates where a stack is hard to walk: in a signal handler, also on an alternate stack, on a stack of its own, in code that was made at run time, amid
// dlopen, in threads that fork. Ends with status 0, or hangs or crashes.
//
//     stacks_odd LIBRARY
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "../../include/gcshim.h"

static atomic_int stop, ticks, signals;

static void use(size_t bytes) {
    char *block = malloc(bytes);
    block[0] = 1;
    block = realloc(block, 2 * bytes);
    free(block);
}

// Interrupts anything, and allocates nothing.
static void on_tick(int signal) {
    (void)signal;
    ticks++;
}

// Interrupts what is no allocation.
static void on_signal(int signal) {
    (void)signal;
    signals++;
    use(100);
}

static ucontext_t here, there;

static void aside(void) {
    for (int i = 0; i < 100; i++)
        use(300);
}

static void on_an_own_stack(void) {
    static char stack[1 << 16];
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    there.uc_link = &here;
    makecontext(&there, aside, 0);
    swapcontext(&here, &there);
}

// A function without unwind tables: it calls what it is given, with the first argument that that wants.
static void from_made_code(void) {
#if defined(__x86_64__)
    // push rbp; mov rbp, 0x1234 (no frame is there); mov rax, rdi; mov rdi, rsi; call rax; pop rbp; ret
    static const unsigned char code[] = {0x55, 0x48, 0xc7, 0xc5, 0x34, 0x12, 0, 0, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5d, 0xc3};
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(at, code, sizeof code);
    for (int i = 0; i < 100; i++)
        ((void (*)(void (*)(size_t), size_t))at)(use, 400);
    munmap(at, 4096);
#endif
}

static void *forks(void *unused) {
    while (!atomic_load(&stop)) {
        pid_t child = fork();
        if (child == 0) {
            use(500);
            _exit(0);
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child || status != 0)
            abort();
    }
    return unused;
}

static void *churns(void *unused) {
    while (!atomic_load(&stop))
        use(64);
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    struct itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_PROF, &often, NULL);
    static char alternate[1 << 16];
    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = sizeof alternate}, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGUSR2, &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_ONSTACK}, NULL);
    pthread_t threads[4];
    pthread_create(&threads[0], NULL, forks, NULL);
    for (int i = 1; i < 4; i++)
        pthread_create(&threads[i], NULL, churns, NULL);
    for (int round = 0; round < 50; round++) {
        void *library = dlopen(argv[1], RTLD_NOW);
        if (library == NULL)
            return 3;
        raise(SIGUSR1);
        raise(SIGUSR2);
        on_an_own_stack();
        from_made_code();
        dlclose(library);
        if (round % 10 == 0 && GCSHIM_AUDIT() < 0)
            return 4;
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return ticks == 0 || signals != 100;
}
