/* Blocks that only pthread_setspecific knows. glibc keeps the first 32 keys in the thread's control block, the others in blocks that
 * the control block points to. */
#include "roots.h"

#define KEYS_IN_CONTROL_BLOCK 32
#define KEY_COUNT (KEYS_IN_CONTROL_BLOCK + HELD_MAX)

static pthread_key_t keys[KEY_COUNT];

static void make_keys(void)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (pthread_key_create(&keys[i], NULL) != 0)
            abort();
}

/* `first`: the index of the first key used. */
static __attribute__((noinline)) void set(int first)
{
    for (int i = 0; i < held_count; i++)
        if (pthread_setspecific(keys[first + i], new_block(HELD_SIZE)) != 0)
            abort();
}

/* The keys come in their order, from the first that no library took. */
static int low_index(void)
{
    if (keys[held_count - 1] >= KEYS_IN_CONTROL_BLOCK)
        abort();
    return 0;
}

static int high_index(void)
{
    int first = 0;
    while (keys[first] < KEYS_IN_CONTROL_BLOCK)
        first++;
    return first;
}

static int main_low(void)
{
    make_keys();
    set(low_index());
    wipe();
    return audit();
}

static int main_high(void)
{
    make_keys();
    set(high_index());
    wipe();
    return audit();
}

static void *hold_low(void *unused)
{
    (void)unused;
    set(low_index());
    wipe();
    hold_until_told();
    return NULL;
}

static void *hold_high(void *unused)
{
    (void)unused;
    set(high_index());
    wipe();
    hold_until_told();
    return NULL;
}

static int thread_low(void)
{
    make_keys();
    return audit_beside(hold_low);
}

static int thread_high(void)
{
    make_keys();
    return audit_beside(hold_high);
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {
        {"main_low", main_low},       {"main_high", main_high}, {"thread_low", thread_low},
        {"thread_high", thread_high}, {NULL, NULL},
    };
    return run_case(argc, argv, cases);
}
