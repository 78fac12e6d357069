/* Calls gcshim_audit() in a program without Python.
 *
 *     call_audit clean     once, with nothing lost
 *     call_audit lost      once, with eight blocks lost
 *     call_audit often     fifty times in a row
 *     call_audit threads   ten times from each of two threads at once
 *
 * Prints each answer but those that say that the other thread's audit was under way, on a line of its own. Without the shim, prints nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* gcshim.h: an audit is taking its snapshot on another thread. */
#define BUSY -2

static int (*audit)(void);

static void *ten_times(void *unused)
{
    for (int i = 0; i < 10; i++) {
        int answer = audit();
        if (answer == BUSY)
            i--;
        else
            printf("%d\n", answer);
    }
    return unused;
}

/* Leaves no pointer behind: not in a register, and not where the next call's frame will lie. */
static __attribute__((noinline)) void lose(int n)
{
    while (n-- > 0) {
        char *volatile block = malloc(1237);
        memset(block, n, 1237);
        block = NULL;
    }
}

static __attribute__((noinline)) void wipe(void)
{
    volatile char below[4096];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

int main(int count, char **arguments)
{
    const char *what = count == 2 ? arguments[1] : "";
    audit = (int (*)(void))dlsym(RTLD_DEFAULT, "gcshim_audit");
    if (audit == NULL)
        return 0;
    if (!strcmp(what, "threads")) {
        pthread_t other;
        if (pthread_create(&other, NULL, ten_times, NULL) != 0)
            return 2;
        ten_times(NULL);
        return pthread_join(other, NULL) != 0;
    }
    if (!strcmp(what, "lost")) {
        lose(8);
        wipe();
    }
    for (int i = strcmp(what, "often") ? 1 : 50; i > 0; i--)
        printf("%d\n", audit());
    return 0;
}
