// An entry that a cache throws out while somebody waits on it.
//
// The class of CVE-2016-0746 (nginx, resolver): the cache of names is a table and a doubly linked queue by age; a request keeps the entry it waits for, and
// the entry is freed under it. Here a cache of the 64 names used last, and a request that holds its entry while the names of others push it out.
#include "uaf.h"

#define ENTRIES_MAX 64

struct entry {
    struct entry *newer, *older;
    char name[32];
    unsigned char address[16];
};

static struct entry ends = {&ends, &ends, "", {0}};
static int entries;

static void unlink_entry(struct entry *e) {
    e->newer->older = e->older;
    e->older->newer = e->newer;
}

static void push_newest(struct entry *e) {
    e->newer = &ends;
    e->older = ends.older;
    ends.older->newer = e;
    ends.older = e;
}

static struct entry *resolve(const char *name) {
    for (struct entry *e = ends.older; e != &ends; e = e->older)
        if (!strcmp(e->name, name)) {
            unlink_entry(e);
            push_newest(e);
            return e;
        }
    if (entries == ENTRIES_MAX) {
        struct entry *oldest = ends.newer;
        unlink_entry(oldest);
        free(oldest); // the mistake: nobody asks who waits on it
        entries--;
    }
    struct entry *e = malloc(sizeof *e);
    strcpy(e->name, name);
    memset(e->address, (int)strlen(name), sizeof e->address);
    push_newest(e);
    entries++;
    return e;
}

struct request {
    struct entry *waits_for;
    char host[32];
};

int main(void) {
    struct request *request = malloc(sizeof *request);
    strcpy(request->host, "service.example.org");
    request->waits_for = resolve(request->host);
    char other[32];
    for (int i = 0; i < 200; i++) {
        snprintf(other, sizeof other, "host-%d.example.net", i);
        resolve(other);
    }
    life_goes_on(sizeof(struct entry));
    struct entry *answer = request->waits_for;
    return verdict(!strncmp(answer->name, request->host, sizeof answer->name) && answer->address[15] == strlen(request->host));
}
