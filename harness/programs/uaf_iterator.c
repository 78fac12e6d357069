// A walk over a table whose callback lets the table grow.
//
// The class of CVE-2016-9079 (Firefox, animations): the code walks the elements of an array by pointer and calls into each; what is called adds an element, the
// array moves, and the walk goes on through the old one. Here timers in a growing array; one of them starts another when it fires.
#include "uaf.h"

struct timer {
    int (*fire)(unsigned long argument);
    unsigned long argument;
};

static struct timer *timers;
static size_t timer_count, timer_room;

static void start_timer(int (*fire)(unsigned long), unsigned long argument) {
    if (timer_count == timer_room) {
        size_t room = timer_room ? timer_room * 2 : 8;
        struct timer *moved = malloc(room * sizeof *moved);
        if (timers)
            memcpy(moved, timers, timer_count * sizeof *moved);
        free(timers);
        timers = moved;
        timer_room = room;
    }
    timers[timer_count++] = (struct timer){fire, argument};
}

static unsigned long fired;

static int count(unsigned long argument) {
    fired += argument;
    return 0;
}

static int start_another(unsigned long argument) {
    size_t old_bytes = timer_room * sizeof *timers;
    fired += argument;
    start_timer(count, 1000);
    life_goes_on(old_bytes);
    return 0;
}

int main(void) {
    start_timer(count, 1);
    start_timer(start_another, 2);
    for (unsigned long i = 0; i < 6; i++)
        start_timer(count, 4ul << i);
    // The mistake: the end and the place in the walk are pointers into the array that the callback may free.
    struct timer *end = timers + timer_count;
    for (struct timer *volatile t = timers; t < end; t++) {
        if (t->fire != count && t->fire != start_another)
            return verdict(0);
        t->fire(t->argument);
    }
    return verdict(fired == 1 + 2 + 4 * 63);
}
