// A result that points into a scratch buffer which the function frees when it has to enlarge it.
//
// The class of CVE-2023-4806 and CVE-2023-4813 (the GNU C library, getaddrinfo): the canonical name that one step found lies in a buffer; the next step finds the
// buffer too small, frees it and takes a larger one, and the name is copied out at the end.
#include "uaf.h"

#define FIRST_BYTES 256

struct scratch {
    char *data;
    size_t bytes;
};

struct found {
    const char *canonical; // into the scratch buffer
    unsigned long addresses;
};

// One source of names: puts what it knows into the scratch buffer. 0 if that is too small.
static int ask(struct scratch *s, const char *name, size_t needs, struct found *found) {
    if (s->bytes < needs)
        return 0;
    memset(s->data, 'x', needs);
    if (!found->canonical) {
        strcpy(s->data + 16, name);
        strcat(s->data + 16, ".canonical.example.org");
        found->canonical = s->data + 16;
    }
    found->addresses++;
    return 1;
}

static char *look_up(const char *name) {
    struct scratch s = {malloc(FIRST_BYTES), FIRST_BYTES};
    struct found found = {NULL, 0};
    size_t needs[] = {100, 6000};
    for (int source = 0; source < 2; source++)
        while (!ask(&s, name, needs[source], &found)) {
            free(s.data); // the mistake: `found` points into it
            s.bytes *= 4;
            s.data = malloc(s.bytes);
        }
    life_goes_on(FIRST_BYTES);
    char *result = strndup(found.canonical, 100);
    free(s.data);
    return result;
}

int main(void) { return verdict(!strcmp(look_up("host"), "host.canonical.example.org")); }
