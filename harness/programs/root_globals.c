/* Blocks that only a writable segment holds: initialised and zeroed data of the program and of a library loaded later. */
#include <dlfcn.h>

#include "roots.h"

static void *volatile zeroed[HELD_MAX];
/* The last element is no block; it puts the array into the initialised data. */
static void *volatile initialised[HELD_MAX + 1] = {[HELD_MAX] = (void *)1};

static int program_zeroed(void)
{
    fill(zeroed, held_count);
    wipe();
    return audit();
}

static int program_initialised(void)
{
    fill(initialised, held_count);
    wipe();
    return audit();
}

static void *volatile *library_slots(const char *name)
{
    void *library = library_path == NULL ? NULL : dlopen(library_path, RTLD_NOW);
    void *volatile *slots = library == NULL ? NULL : (void *volatile *)dlsym(library, name);
    if (slots == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    return slots;
}

static int library_zeroed(void)
{
    fill(library_slots("library_zeroed"), held_count);
    wipe();
    return audit();
}

static int library_initialised(void)
{
    fill(library_slots("library_initialised"), held_count);
    wipe();
    return audit();
}

int main(int argc, char **argv)
{
    static const struct root_case cases[] = {
        {"program_zeroed", program_zeroed}, {"program_initialised", program_initialised},
        {"library_zeroed", library_zeroed}, {"library_initialised", library_initialised},
        {NULL, NULL},
    };
    return run_case(argc, argv, cases);
}
