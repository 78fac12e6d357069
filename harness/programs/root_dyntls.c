/* Blocks that only the thread-local storage of a library loaded later holds: it is reached through the thread's vector (dtv). */
#include <dlfcn.h>

#include "roots.h"

static void *volatile *(*slots_of_this_thread)(void);

static void load(void)
{
    void *library = library_path == NULL ? NULL : dlopen(library_path, RTLD_NOW);
    slots_of_this_thread = library == NULL ? NULL : (void *volatile *(*)(void))dlsym(library, "slots_of_this_thread");
    if (slots_of_this_thread == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
}

/* Not inlined: where the storage lies must not stay in a frame either. */
static __attribute__((noinline)) void fill_this_thread(void)
{
    fill(slots_of_this_thread(), held_count);
}

static int main_thread(void)
{
    load();
    fill_this_thread();
    wipe();
    return audit();
}

static void *hold_in_thread(void *unused)
{
    (void)unused;
    fill_this_thread();
    wipe();
    hold_until_told();
    return NULL;
}

static int other_thread(void)
{
    load();
    return audit_beside(hold_in_thread);
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {{"main_thread", main_thread}, {"other_thread", other_thread}, {NULL, NULL}};
    return run_case(argc, argv, cases);
}
