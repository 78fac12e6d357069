/* A program with an interpreter inside.
 *
 *     embed [-l PATH | -g PATH] once|twice|sub|own-malloc SCRIPT
 *
 * It is linked against libpython, or loads it from PATH when it has started, with local (-l) or global (-g) names. Declares what
 * it calls itself, so that one program serves every version. The script `leak` is ten lists made and lost in C, for where no extension
 * module can be loaded (those of a library with local names cannot). Ends with what Py_FinalizeEx answers, or 3 when SCRIPT fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static void *library;

static void *name(const char *symbol)
{
    void *found = dlsym(library, symbol);
    if (found == NULL) {
        fprintf(stderr, "embed: %s\n", dlerror());
        exit(2);
    }
    return found;
}

#define CALL(symbol, result, ...) ((result(*)(__VA_ARGS__))name(symbol))

static int run(const char *script)
{
    if (!strcmp(script, "leak")) {
        void *(*list_new)(ssize_t) = (void *(*)(ssize_t))name("PyList_New");
        for (int i = 0; i < 10; i++)
            if (list_new(0) == NULL)
                return 3;
        return 0;
    }
    return CALL("PyRun_SimpleString", int, const char *)(script) == 0 ? 0 : 3;
}

static int once(const char *script)
{
    CALL("Py_Initialize", void, void)();
    int failed = run(script);
    int status = CALL("Py_FinalizeEx", int, void)();
    return failed ? failed : status;
}

static int sub(const char *script)
{
    CALL("Py_Initialize", void, void)();
    void *main_thread = CALL("PyThreadState_Get", void *, void)();
    void *sub_thread = CALL("Py_NewInterpreter", void *, void)();
    if (sub_thread == NULL)
        return 2;
    int failed = run(script);
    CALL("Py_EndInterpreter", void, void *)(sub_thread);
    CALL("PyThreadState_Swap", void *, void *)(main_thread);
    int status = CALL("Py_FinalizeEx", int, void)();
    return failed ? failed : status;
}

/* PyMemAllocatorEx, with functions of the program's own around the C library's. */
static void *own_malloc(void *context, size_t size)
{
    (void)context;
    return malloc(size ? size : 1);
}

static void *own_calloc(void *context, size_t count, size_t size)
{
    (void)context;
    return count && size ? calloc(count, size) : calloc(1, 1);
}

static void *own_realloc(void *context, void *block, size_t size)
{
    (void)context;
    return realloc(block, size ? size : 1);
}

static void own_free(void *context, void *block)
{
    (void)context;
    free(block);
}

int main(int count, char **arguments)
{
    if (count == 5 && (!strcmp(arguments[1], "-l") || !strcmp(arguments[1], "-g"))) {
        library = dlopen(arguments[2], RTLD_NOW | (arguments[1][1] == 'l' ? RTLD_LOCAL : RTLD_GLOBAL));
        if (library == NULL) {
            fprintf(stderr, "embed: %s\n", dlerror());
            return 2;
        }
        arguments += 2;
    } else if (count != 3) {
        return 2;
    }
    const char *what = arguments[1], *script = arguments[2];
    if (!strcmp(what, "once"))
        return once(script);
    if (!strcmp(what, "twice")) {
        int first = once(script);
        return first ? first : once(script);
    }
    if (!strcmp(what, "own-malloc")) {
        struct {
            void *context, *(*malloc)(void *, size_t), *(*calloc)(void *, size_t, size_t), *(*realloc)(void *, void *, size_t);
            void (*free)(void *, void *);
        } own = {NULL, own_malloc, own_calloc, own_realloc, own_free};
        for (int domain = 0; domain < 3; domain++)
            CALL("PyMem_SetAllocator", void, int, void *)(domain, &own);
        return once(script);
    }
    return sub(script);
}
