/* Blocks that only static thread-local storage holds: the auditing thread's (which the dynamic linker set up) and another
 * thread's (which lies at the upper end of its stack's mapping). */
#include "roots.h"

static __thread void *volatile slots[HELD_MAX];

static int main_thread(void)
{
    fill(slots, held_count);
    wipe();
    return audit();
}

static void *hold_in_thread(void *unused)
{
    (void)unused;
    fill(slots, held_count);
    wipe();
    hold_until_told();
    return NULL;
}

static int other_thread(void)
{
    return audit_beside(hold_in_thread);
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {{"main_thread", main_thread}, {"other_thread", other_thread}, {NULL, NULL}};
    return run_case(argc, argv, cases);
}
