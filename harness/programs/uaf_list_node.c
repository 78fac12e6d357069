// A record that is freed while a list still has it.
//
// The class of CVE-2022-2588 (Linux, traffic control by routes): an entry is replaced, and the old one taken off its chain only if its handle is not zero; it
// is freed in any case. Here a table of filters with chains, where a replaced filter with handle 0 stays on its chain.
#include "uaf.h"

struct filter {
    struct filter *next;
    unsigned handle, priority;
    char action[40];
};

static struct filter *chains[16];

static struct filter *add(unsigned chain, unsigned handle, unsigned priority, const char *action) {
    struct filter *f = malloc(sizeof *f);
    f->next = chains[chain];
    f->handle = handle;
    f->priority = priority;
    strcpy(f->action, action);
    return chains[chain] = f;
}

static void replace(unsigned chain, struct filter *old, unsigned priority, const char *action) {
    add(chain + 1, old->handle, priority, action);
    if (old->handle) // the mistake: zero is a handle like any other
        for (struct filter **at = &chains[chain]; *at; at = &(*at)->next)
            if (*at == old) {
                *at = old->next;
                break;
            }
    free(old);
}

int main(void) {
    add(3, 7, 10, "accept");
    struct filter *old = add(3, 0, 20, "drop");
    add(3, 9, 30, "mirror");
    replace(3, old, 40, "police");
    old = NULL;
    life_goes_on(sizeof(struct filter));
    // A packet is classified: every filter of the chain is asked. Behind a stale one anything may stand, so a number says when to stop.
    char seen[256] = "";
    int steps = 0;
    for (struct filter *f = chains[3]; f && steps < 3; f = f->next, steps++) {
        if (f->priority > 1000 || memchr(f->action, 0, sizeof f->action) == NULL)
            return verdict(0);
        strcat(strcat(seen, f->action), " ");
    }
    return verdict(!strcmp(seen, "mirror drop accept "));
}
