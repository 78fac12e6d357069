// Long lists that are freed while somebody still has their first node.
//
// The class of CVE-2017-16939 (Linux, dumps of IPsec policies): a cursor into a list outlives the list, and who goes on from there walks from one freed node to the next. Here
// sixteen batches of requests, each of 16 MiB, are freed, and the cursor into each is kept. Whoever keeps all that freed nodes lead to keeps 256 MiB; whoever
// keeps only the first nodes must see to it that nobody gets beyond them.
#include "uaf.h"

enum { BATCHES = 16, NODES = 1 << 18, TEXT = 32 };

struct request {
    struct request *next;
    size_t number, seal;
    char text[TEXT];
};

static struct request *cursors[BATCHES];

static size_t seal_of(size_t number) {
    return number * 0x9e3779b97f4a7c15u | 1;
}

static struct request *make_batch(void) {
    struct request *first = NULL;
    for (size_t i = 0; i < NODES; i++) {
        struct request *one = malloc(sizeof *one);
        if (!one)
            exit(3);
        one->next = first;
        one->number = i;
        one->seal = seal_of(i);
        memset(one->text, 't', TEXT);
        first = one;
    }
    return first;
}

static void free_batch(struct request *first) {
    for (struct request *one = first, *next; one; one = next) {
        next = one->next;
        free(one);
    }
}

// Nothing in a node any more, or all that ever was.
static int is_empty_or_whole(const struct request *one) {
    static const struct request empty;
    if (!memcmp(one, &empty, sizeof empty))
        return 1;
    for (int i = 0; i < TEXT; i++)
        if (one->text[i] != 't')
            return 0;
    return one->seal == seal_of(one->number);
}

int main(void) {
    for (int i = 0; i < BATCHES; i++) {
        cursors[i] = make_batch();
        free_batch(cursors[i]); // the mistake: the cursor is not reset
    }
    life_goes_on(sizeof(struct request));
    for (int i = 0; i < BATCHES; i++)
        for (struct request *one = cursors[i]; one; one = one->next)
            if (!is_empty_or_whole(one))
                return verdict(0);
    return verdict(spray_is_intact(sizeof(struct request)));
}
