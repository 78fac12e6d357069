// Pointers that are not from this heap: blocks of the C library's own malloc, as a library loaded with RTLD_DEEPBIND gets them.
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__libc_malloc(size_t);
void __libc_free(void *);

static char in_static_memory[64];

int main(void) {
    char on_the_stack[64];
    void *volatile wild[] = {in_static_memory, on_the_stack, (void *)16, (void *)-1, (void *)((size_t)1 << 47), (void *)main};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
        free(wild[i]);
    char *theirs = __libc_malloc(100);
    strcpy(theirs, "theirs");
    free(theirs);
    if (strcmp(theirs, "theirs"))
        return 1;
    if (malloc_usable_size(theirs) < 100)
        return 2;
    theirs = realloc(theirs, 100000);
    if (!theirs || strcmp(theirs, "theirs"))
        return 3;
    __libc_free(theirs);
    return 0;
}
