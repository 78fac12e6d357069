/* Threads are created and end while the main thread audits again and again; each holds blocks in its frame and passes one to the next by its
 * argument. Nothing of it is lost.
 *
 *     snapshot_churn AUDITS
 */
#include "roots.h"
#include <stdatomic.h>

#define CREATORS 4

static atomic_int stop, created;

static void *hold_shortly(void *handed_over)
{
    void *volatile slots[4] = {handed_over};
    for (int i = 1; i < 4; i++)
        slots[i] = new_block(HELD_SIZE);
    sched_yield();
    for (int i = 0; i < 4; i++)
        free(slots[i]);
    return new_block(HELD_SIZE);
}

static void *create(void *unused)
{
    (void)unused;
    while (!stop) {
        pthread_t threads[3];
        int n = 0;
        for (; n < 3; n++)
            if (pthread_create(&threads[n], NULL, hold_shortly, new_block(HELD_SIZE)) != 0)
                abort();
        while (n-- > 0) {
            void *result;
            pthread_join(threads[n], &result);
            free(result);
            created++;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int audits = argc < 2 ? 0 : atoi(argv[1]);
    pthread_t creators[CREATORS];
    for (int i = 0; i < CREATORS; i++)
        if (pthread_create(&creators[i], NULL, create, NULL) != 0)
            return 2;
    for (int i = 0; i < LOST_COUNT; i++)
        (void)!new_block(LOST_SIZE);
    wipe();
    int wrong = 0;
    for (int i = 0; i < audits; i++) {
        int failing = gcshim_audit();
        if (failing != 1) {
            printf("audit %d: %d\n", i, failing);
            wrong = 1;
        }
    }
    stop = 1;
    for (int i = 0; i < CREATORS; i++)
        pthread_join(creators[i], NULL);
    /* Audits beside nothing would prove nothing. */
    return wrong || created == 0;
}
