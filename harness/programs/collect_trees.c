// Makes binary trees and never frees one. Argument: how many trees of 2 MB. The first is kept, through one global variable, and its sum is checked at the
// end. Prints the peak of resident memory in MB.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "../../include/gcshim.h"

struct tree {
    struct tree *left, *right;
    long value;
};

static struct tree *make(int depth) {
    struct tree *t = malloc(sizeof *t);
    *t = (struct tree){depth ? make(depth - 1) : NULL, depth ? make(depth - 1) : NULL, depth};
    return t;
}

static long sum(const struct tree *t) { return t ? t->value + sum(t->left) + sum(t->right) : 0; }

static struct tree *kept;

int main(int argc, char **argv) {
    int trees = argc > 1 ? atoi(argv[1]) : 100;
    kept = make(15);
    long want = sum(kept), total = 0;
    for (int i = 0; i < trees; i++)
        total += sum(make(15));
    long collected = GCSHIM_COLLECT();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%s collected %ld peak %ld\n", sum(kept) == want && total == trees * want ? "right" : "wrong", collected, usage.ru_maxrss / 1024);
    return 0;
}
