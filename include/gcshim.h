/* gcshim.h - the C functions of libgcshim.so.
 *
 * NAME
 *     gcshim_audit, gcshim_collect - look for what is lost, reclaim it
 *     gcshim_finalizer_set, gcshim_finalizers_run, gcshim_resurrected - what is done before a block is reclaimed
 *     gcshim_weak_register, gcshim_weak_unregister, gcshim_weak_get - pointers that keep nothing
 *     gcshim_roots_add, gcshim_roots_remove - pointers in shared memory
 *
 * SYNOPSIS
 *     #include <gcshim.h>
 *     LD_PRELOAD=libgcshim.so GCSHIM_MODE=collect program
 *
 * Nothing is to be linked: every function is declared weak, so that a program that calls them also links and runs without the shim. Test the address first, or use
 * the macro of the same name in capitals, which does and says what happens then. From Python: ctypes.CDLL(None).gcshim_collect().
 *
 * A block is what malloc, calloc, realloc and the like return. It is reached if a word that points anywhere into it stands on a stack, in a register, in
 * thread-local storage, in a global variable, in a private mapping, in a block that is reached, or in a range that the program named. Words in files, in shared
 * memory, in the kernel (epoll, io_uring) or in disguise (XOR) do not count. A word that merely looks like a pointer does.
 *
 * None of these functions may be called from a signal handler. All may be called from any thread; in a Python program from one that Python knows.
 */
#ifndef GCSHIM_H
#define GCSHIM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Answers of functions that can fail. */
enum {
    GCSHIM_OFF = -1,     /* the shim is not loaded, or not in a mode in which this has a meaning */
    GCSHIM_BUSY = -2,    /* gcshim_audit: an audit is taking its snapshot on another thread */
    GCSHIM_NOTHING = -2, /* finalizers, weak words, roots: there is no block, or no memory, where one is wanted */
    GCSHIM_REFUSED = -3, /* the system refused memory, a signal handler or the clone */
    GCSHIM_GIVEN_UP = -4 /* it could not be brought to its end; a line on standard error may say why */
};

/* Audits the process now, and waits for the result.
 *
 * Returns the number of failing findings, which are also in the report (GCSHIM_REPORT) and on standard error; GCSHIM_OFF, GCSHIM_BUSY, GCSHIM_REFUSED; GCSHIM_GIVEN_UP
 * if the audit crashed or took longer than GCSHIM_DEADLINE.
 *
 * In the modes collect and quarantine it also lists blocks that were freed and into which words point all the same, with the places where these stand: freed-while-referenced.
 * That fails only if GCSHIM_FAIL_ON has it, since many a program keeps a pointer that it will not use again.
 *
 * The program's threads stand still for the snapshot only (milliseconds).
 */
extern int gcshim_audit(void) __attribute__((weak));
#define GCSHIM_AUDIT() (gcshim_audit ? gcshim_audit() : (int)GCSHIM_OFF)

/* Collects now, and waits for the result. For GCSHIM_MODE=collect and quarantine.
 *
 * Memory that the program has freed and no word points into becomes reusable. In mode collect, so does memory that was never freed and that nothing
 * reaches, after its finalizers have run; and Python objects that nobody holds although their count says so lose the references that are too many: their
 * destructors run, and the callbacks of their weak references, before this returns. Not in a child that was forked while the program had other threads: what those
 * held cannot be told from what is lost, and to destroy it may be seen outside the child. There only what has been freed becomes reusable.
 *
 * Returns the number of bytes that became reusable; GCSHIM_OFF in another mode; GCSHIM_REFUSED in a process that does not collect (it was made by vfork);
 * GCSHIM_GIVEN_UP if the system refused memory or a snapshot, or a thread could not be stopped.
 */
extern long gcshim_collect(void) __attribute__((weak));
#define GCSHIM_COLLECT() (gcshim_collect ? gcshim_collect() : (long)GCSHIM_OFF)

/* ---- Finalizers: GCSHIM_MODE=collect ----
 *
 * A block has one finalizer or none. It is called as finalizer(block, argument) when a collection has found that nothing reaches the block: once, and not at once
 * but when the program says so, in gcshim_collect() or gcshim_finalizers_run(), on the thread that calls that (in a Python program with the GIL). Never inside of
 * malloc or free, with no lock of the shim's held. Not at the end of the process.
 *
 * Order: a block's finalizer is called before those of the blocks that it leads to, directly or through others; so it finds what its block points to as it
 * was. Those of a cycle are called one after the other, in no order to rely on. All that one collection has found are called, those it finds later come later.
 * One is called when the one before has returned, whichever threads ask; a finalizer must return (no longjmp, no exception, no pthread_exit).
 *
 * A finalizer may allocate, free (its own block too), set and remove finalizers, register weak words, call gcshim_collect(), which then collects and calls none. It may store the
 * pointer where it is reached: the block stays as it is, and so does what it leads to; it has no finalizer any more unless one is set again. gcshim_resurrected() counts
 * such blocks when the next collection of what was never freed sees them. Otherwise that collection takes the block; gcshim_collect() ends with one if a finalizer was called.
 *
 * The argument keeps what it points to, for as long as the finalizer is set. It must not lead to the block: then that is always reached.
 *
 * free() drops the block's finalizer without calling it. realloc() that moves the block moves its finalizer. A forked child has its own copy of all of them. For native memory:
 * what belongs to a Python object is freed by its destructor (weakref.finalize is the thing to use there).
 */
typedef void (*gcshim_finalizer)(void *block, void *argument);

/* Sets the finalizer of the block that begins at `block`, instead of the one it has; NULL removes it.
 *
 * Returns 1 if the block had one, 0 if it had none; GCSHIM_OFF in other modes than collect, where it would never be called; GCSHIM_NOTHING if no block in use begins there;
 * GCSHIM_REFUSED without memory.
 */
extern int gcshim_finalizer_set(void *block, gcshim_finalizer finalizer, void *argument) __attribute__((weak));
#define GCSHIM_FINALIZER_SET(block, finalizer, argument)                                                                         \
    (gcshim_finalizer_set ? gcshim_finalizer_set((block), (finalizer), (argument)) : (int)GCSHIM_OFF)

/* Calls the finalizers of the blocks that collections have found lost by now. Costs next to nothing if there are none: to be called wherever it is safe, in the main loop.
 *
 * Returns how many were called; 0 in a finalizer, and while another thread is at it, which then calls them all.
 */
extern long gcshim_finalizers_run(void) __attribute__((weak));
#define GCSHIM_FINALIZERS_RUN() (gcshim_finalizers_run ? gcshim_finalizers_run() : 0L)

/* Returns how many blocks were found reached after their finalizer had been called. */
extern long gcshim_resurrected(void) __attribute__((weak));
#define GCSHIM_RESURRECTED() (gcshim_resurrected ? gcshim_resurrected() : 0L)

/* ---- Weak words: every mode but off ----
 *
 * A weak word is a pointer that keeps nothing: collections and audits do not see it. It is set to NULL when the block into which it points ends: by free(), in any mode;
 * or because a collection takes it, in mode collect, at once for all weak words that point into one lost block or into what that leads to, and before finalizers are called.
 *
 * A word is weak for what it held when it was registered. If the program stores something else, it is a pointer like any other until it is registered again.
 *
 * The word may lie anywhere in private memory. free() of the block in which it lies unregisters it; from stacks, and from memory that is unmapped, it must be unregistered
 * before. realloc() that moves the block it points into changes it; one that moves the block in which it lies unregisters it.
 *
 * Python's own weak references need none of this: the interpreter clears them, and calls them back, when an object's last reference is dropped, and that is what a
 * collection does with lost objects. A weak word may point to a Python object; it is set to NULL when the object's memory is freed.
 */

/* Makes *link weak for what it holds.
 *
 * Returns 0; GCSHIM_OFF; GCSHIM_NOTHING if *link points into no block in use, or if link is not aligned or in no private memory; GCSHIM_REFUSED without memory. Then it is a pointer
 * like any other.
 */
extern int gcshim_weak_register(void **link) __attribute__((weak));
#define GCSHIM_WEAK_REGISTER(link) (gcshim_weak_register ? gcshim_weak_register((void **)(link)) : (int)GCSHIM_OFF)

/* Makes *link a pointer like any other. Returns 1 if it was weak, else 0. */
extern int gcshim_weak_unregister(void **link) __attribute__((weak));
#define GCSHIM_WEAK_UNREGISTER(link) (gcshim_weak_unregister ? gcshim_weak_unregister((void **)(link)) : 0)

/* Returns *link, for the caller to keep; NULL if what it pointed to is gone. In mode collect this is the way to read a weak word: a collection that is under way then
 * knows that the block is in use. It may wait for that collection.
 */
extern void *gcshim_weak_get(void **link) __attribute__((weak));
#define GCSHIM_WEAK_GET(link) (gcshim_weak_get ? gcshim_weak_get((void **)(link)) : *(void **)(link))

/* ---- Roots: every mode but off ----
 *
 * Pointers in memory that is shared with other processes (MAP_SHARED) keep nothing, unless the program names the range. It is then copied for every audit and collection, with the threads
 * standing still, so name what has pointers. Mappings that come and go in the range are looked at while they are there. Memory that is private is seen anyway, but
 * for blocks that nothing reaches: a range that begins in a block keeps the block.
 */

/* Makes the words of a range roots, or one time more. Returns 0; GCSHIM_OFF; GCSHIM_NOTHING for no range; GCSHIM_REFUSED if there are 1024 already. */
extern int gcshim_roots_add(const void *start, size_t bytes) __attribute__((weak));
#define GCSHIM_ROOTS_ADD(start, bytes) (gcshim_roots_add ? gcshim_roots_add((start), (bytes)) : (int)GCSHIM_OFF)

/* The end of one gcshim_roots_add() with the same arguments. Returns 1 if there was one, else 0. */
extern int gcshim_roots_remove(const void *start, size_t bytes) __attribute__((weak));
#define GCSHIM_ROOTS_REMOVE(start, bytes) (gcshim_roots_remove ? gcshim_roots_remove((start), (bytes)) : 0)

#ifdef __cplusplus
}
#endif

#endif
