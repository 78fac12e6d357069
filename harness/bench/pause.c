/* Audits a process with many threads, mappings and blocks; the report has the pause and the time of each.
 *
 *     pause THREADS MAPPINGS BLOCKS AUDITS [KIND]
 *
 * The threads wait in poll, or, with KIND = run, compute. Mappings of two pages with a page between them are written once. Blocks of 72 bytes
 * hang in one list.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

extern int gcshim_audit(void) __attribute__((weak));

static int computing;
static atomic_int started;
static atomic_long work;

static void *wait_or_compute(void *unused)
{
    (void)unused;
    started++;
    for (;;)
        if (computing)
            work++;
        else
            poll(NULL, 0, -1);
    return NULL;
}

struct link {
    struct link *next;
    char rest[64];
};

static struct link *list;

int main(int argc, char **argv)
{
    if (argc < 5 || gcshim_audit == NULL)
        return 2;
    int threads = atoi(argv[1]), mappings = atoi(argv[2]), blocks = atoi(argv[3]), audits = atoi(argv[4]);
    computing = argc > 5 && strcmp(argv[5], "run") == 0;
    for (int i = 0; i < mappings; i++) {
        char *area = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED || mprotect(area, 4096, PROT_NONE) != 0)
            return 3;
        area[4096] = 1;
    }
    for (int i = 0; i < blocks; i++) {
        struct link *link = malloc(sizeof *link);
        if (link == NULL)
            return 3;
        memset(link->rest, i, sizeof link->rest);
        link->next = list;
        list = link;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, wait_or_compute, NULL) != 0)
            return 3;
    }
    while (started < threads - 1)
        ;
    for (int i = 0; i < audits; i++)
        if (gcshim_audit() < 0)
            return 4;
    return 0;
}
