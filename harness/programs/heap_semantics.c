// What C, POSIX and glibc say of the malloc family, asked one by one. Exits 0, or names the line that is not so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(what)                                                                                                              \
    do {                                                                                                                         \
        if (!(what)) {                                                                                                           \
            fprintf(stderr, "line %d: %s\n", __LINE__, #what);                                                                   \
            exit(1);                                                                                                             \
        }                                                                                                                        \
    } while (0)

static int aligned(const void *p, size_t n) { return ((uintptr_t)p & (n - 1)) == 0; }

int main(void) {
    // Sizes are kept from the compiler, which knows the family and would answer itself.
    volatile size_t zero = 0, most = PTRDIFF_MAX, over = (size_t)PTRDIFF_MAX + 1, all = SIZE_MAX, half = SIZE_MAX / 2 + 2;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *volatile p, *volatile q;

    p = malloc(zero), q = malloc(zero);
    CHECK(p && q && p != q);
    free(p), free(q);
    free(NULL);
    p = calloc(zero, 10);
    CHECK(p);
    free(p);

    for (size_t size = 1; size < 300000; size += 1 + size / 7) {
        p = malloc(size);
        CHECK(p && aligned(p, 16) && malloc_usable_size(p) >= size);
        memset(p, 0xab, malloc_usable_size(p));
        free(p);
        p = calloc(1, size);
        CHECK(p && ((char *)p)[0] == 0 && ((char *)p)[size / 2] == 0 && ((char *)p)[size - 1] == 0);
        free(p);
    }

    for (int i = 0; i < 2; i++) {
        size_t size = i ? over : most;
        errno = 0, p = malloc(size);
        CHECK(!p && errno == ENOMEM);
        errno = 0, p = calloc(size, 1);
        CHECK(!p && errno == ENOMEM);
        q = malloc(10);
        strcpy(q, "kept");
        errno = 0, p = realloc(q, size);
        CHECK(!p && errno == ENOMEM && !strcmp(q, "kept"));
        errno = 0, p = reallocarray(q, size, 2);
        CHECK(!p && errno == ENOMEM && !strcmp(q, "kept"));
        free(q);
        errno = 0, p = aligned_alloc(64, size);
        CHECK(!p && errno == ENOMEM);
        errno = 0, p = memalign(64, size);
        CHECK(!p && errno == ENOMEM);
        errno = 0, p = valloc(size);
        CHECK(!p && errno == ENOMEM);
    }
    errno = 0, p = pvalloc(all);
    CHECK(!p && errno == ENOMEM);
    errno = 0, p = calloc(half, 2);
    CHECK(!p && errno == ENOMEM);

    // Success and free leave errno alone, also when memory is mapped and unmapped.
    for (size_t size = 10; size < 100000000; size *= 10) {
        errno = 77, p = malloc(size);
        CHECK(p && errno == 77);
        free(p);
        CHECK(errno == 77);
    }
    errno = 77;
    malloc_trim(0);
    CHECK(errno == 77);

    void *out = &page;
    for (size_t align = 8; align <= 1 << 24; align *= 2) {
        for (size_t size = 0; size < 200000; size = size * 3 + 1) {
            CHECK(posix_memalign(&out, align, size) == 0 && aligned(out, align) && malloc_usable_size(out) >= size);
            memset(out, 1, size);
            free(out);
            p = aligned_alloc(align, size);
            CHECK(p && aligned(p, align));
            p = realloc(p, size + 100);
            CHECK(p && aligned(p, 16));
            free(p);
        }
    }
    out = &page;
    errno = 77;
    CHECK(posix_memalign(&out, 24, 10) == EINVAL && posix_memalign(&out, 4, 10) == EINVAL && posix_memalign(&out, zero, 10) == EINVAL);
    CHECK(posix_memalign(&out, 64, over) == ENOMEM && errno == 77 && out == &page);
    p = memalign(48, 10);
    CHECK(p && aligned(p, 64));
    free(p);

    p = valloc(10), q = pvalloc(page + 1);
    CHECK(aligned(p, page) && aligned(q, page) && malloc_usable_size(q) >= 2 * page);
    free(p), free(q);

    p = realloc(NULL, 10);
    CHECK(p);
    strcpy(p, "contents");
    for (size_t size = 9; size < 200000000; size = size * 5 / 4 + 1) {
        p = realloc(p, size);
        CHECK(p && !strcmp(p, "contents") && malloc_usable_size(p) >= size);
        ((char *)p)[size - 1] = 1;
        ((char *)p)[8] = 0;
    }
    for (size_t size = 200000000; size > 9; size = size / 2) {
        p = realloc(p, size);
        CHECK(p && !strcmp(p, "contents"));
    }
    CHECK(realloc(p, zero) == NULL);
    CHECK(malloc_usable_size(NULL) == 0);
    p = reallocarray(NULL, 10, 10);
    CHECK(p && malloc_usable_size(p) >= 100);
    free(p);

    // The names that the C library's headers do not declare yet, or not any more.
    void (*sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    void (*both)(void *, size_t, size_t) = (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    void (*old)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
    CHECK(sized && both && old);
    sized(malloc(10), 10);
    both(aligned_alloc(64, 64), 64, 64);
    old(malloc(10));
    p = malloc(1000000);
    CHECK(mallinfo2().uordblks >= 1000000 && mallopt(M_MMAP_THRESHOLD, 1) == 1);
    free(p);
    return 0;
}
