// Binary trees, built, walked and dropped (in the spirit of the well-known binary-trees program), with one that lives all the time.
#include "workload.h"

struct node {
    struct node *left, *right;
};

static struct node *build(int depth) {
    struct node *n = malloc(sizeof *n);
    n->left = depth ? build(depth - 1) : NULL;
    n->right = depth ? build(depth - 1) : NULL;
    return n;
}

static unsigned long drop(struct node *n) {
    unsigned long count = n->left ? drop(n->left) + drop(n->right) + 1 : 1;
    free(n);
    return count;
}

int main(int argc, char **argv) {
    unsigned long rounds = argument(argc, argv, 1, 60), count = 0;
    struct node *kept = build(20);
    for (unsigned long i = 0; i < rounds; i++)
        count += drop(build(17));
    return drop(kept) + count == 0;
}
