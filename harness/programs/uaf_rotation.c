// A tree that replaces nodes while a reader stands in one.
//
// The class of CVE-2023-3269 (Linux, "StackRot", the maple tree of mappings): a change replaces a node by copies and frees it, while a reader that has only the
// lock for reading is inside. Here rotations that copy, and a cursor that stays on its way down.
#include "uaf.h"

struct node {
    struct node *left, *right;
    unsigned long key, copies;
};

static struct node *make(unsigned long key, struct node *left, struct node *right) {
    struct node *n = malloc(sizeof *n);
    *n = (struct node){left, right, key, 0};
    return n;
}

static struct node *copy(struct node *old, struct node *left, struct node *right) {
    struct node *n = make(old->key, left, right);
    n->copies = old->copies + 1;
    free(old); // the mistake: a reader may be inside
    return n;
}

static struct node *rotate_right(struct node *top) {
    struct node *pivot = top->left, *below = copy(top, pivot->right, top->right);
    return copy(pivot, pivot->left, below);
}

static struct node *build(unsigned long from, unsigned long to) {
    if (from == to)
        return NULL;
    unsigned long middle = from + (to - from) / 2;
    struct node *left = build(from, middle), *right = build(middle + 1, to);
    return make(middle, left, right);
}

int main(void) {
    struct node *root = build(0, 1023);
    // The reader looks for 300 and stands in the second node of its way.
    struct node *volatile cursor = root->left;
    // The writer turns the left part of the tree upside down.
    for (int i = 0; i < 4; i++)
        root->left = rotate_right(root->left);
    root = rotate_right(root);
    life_goes_on(sizeof(struct node));
    // The reader goes on: every step must lead to a node, and the last one to 300.
    for (int steps = 0; cursor && steps < 12; steps++) {
        if (cursor->key > 1023)
            return verdict(0);
        if (cursor->key == 300)
            return verdict(1);
        cursor = 300 < cursor->key ? cursor->left : cursor->right;
    }
    return verdict(0);
}
