/* names.c - finalizers and weak words of include/gcshim.h, in a program that never frees.
 *
 *     cc -O2 -I include -o names harness/example/names.c
 *     GCSHIM_MODE=collect LD_PRELOAD=libgcshim.so ./names 200000
 *
 * Names are kept once each: a table has a weak word for every name, so that the table does not keep a name that nobody uses. A log is a block with a file descriptor; its
 * finalizer closes the descriptor of a log that nobody has any more. Without the shim the table keeps all names, and the program must make do with the descriptors it has.
 */
#include "gcshim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUCKETS = 4096 };

/* A place of the table. Places are kept, names are not. */
struct place {
    struct place *next;
    void *name; /* weak: a char * */
};

static struct place *buckets[BUCKETS];
static long places, made, logs_open, logs_closed;

static unsigned hash(const char *text) {
    unsigned h = 5381;
    while (*text)
        h = h * 33 + (unsigned char)*text++;
    return h % BUCKETS;
}

/* The one block that has this text. Who keeps the pointer keeps the name. */
static const char *name(const char *text) {
    struct place *empty = NULL, **bucket = &buckets[hash(text)];
    for (struct place *p = *bucket; p; p = p->next) {
        const char *known = GCSHIM_WEAK_GET(&p->name); /* not p->name: from here on it is ours, and no collection takes it */
        if (known && !strcmp(known, text))
            return known;
        if (!known)
            empty = p;
    }
    if (!empty) {
        empty = malloc(sizeof *empty);
        *empty = (struct place){*bucket, NULL};
        *bucket = empty;
        places++;
    }
    char *own = strcpy(malloc(strlen(text) + 1), text);
    made++;
    empty->name = own;
    GCSHIM_WEAK_REGISTER(&empty->name); /* anew for every name: a word is weak for what it held then */
    return own;
}

struct log {
    int descriptor;
    const char *title;
};

/* The title is still there: what a block leads to goes after it. */
static void close_log(void *block, void *argument) {
    struct log *log = block;
    long *closed = argument;
    if (log->title[0] == 'n' && close(log->descriptor) == 0)
        ++*closed;
}

static struct log *open_log(const char *title) {
    struct log *log = malloc(sizeof *log);
    *log = (struct log){open("/dev/null", O_WRONLY), title};
    if (log->descriptor < 0)
        return NULL;
    logs_open++;
    GCSHIM_FINALIZER_SET(log, close_log, &logs_closed);
    return log;
}

int main(int count, char **arguments) {
    long rounds = count > 1 ? atol(arguments[1]) : 200000, refused = 0, wrong = 0;
    static const char *kept[100];
    for (long i = 0; i < rounds; i++) {
        char text[32];
        snprintf(text, sizeof text, "name %ld", i);
        const char *one = name(text);
        if (i < 100)
            kept[i] = one;
        if (i % 1000 == 0)
            refused += !open_log(one);
        if (i % 50000 == 49999)
            GCSHIM_COLLECT(); /* closes what it can; GCSHIM_FINALIZERS_RUN() would do so without collecting */
    }
    for (int i = 0; i < 100 && i < rounds; i++) {
        char text[32];
        snprintf(text, sizeof text, "name %d", i);
        wrong += kept[i] != name(text);
    }
    GCSHIM_COLLECT();
    printf("names %ld places %ld wrong %ld logs %ld closed %ld refused %ld\n", made, places, wrong, logs_open, logs_closed, refused);
    return 0;
}
