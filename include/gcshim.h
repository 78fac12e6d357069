/* gcshim.h - the C functions of libgcshim.so.
 *
 * Every function is declared weak, so that a program that calls them also links and runs without the shim: test the address first, or use the
 * macros, which do.
 */
#ifndef GCSHIM_H
#define GCSHIM_H

#ifdef __cplusplus
extern "C" {
#endif

/* Audits the process now, and waits for the result.
 *
 * Returns the number of failing findings, which are also in the report (GCSHIM_REPORT) and on standard error;
 *   -1  the shim is off (GCSHIM_MODE=off)
 *   -2  an audit is taking its snapshot on another thread
 *   -3  the system refused memory, a signal handler or the clone
 *   -4  the audit crashed or took longer than GCSHIM_DEADLINE; a line on standard error says why
 *
 * The program's threads stand still for the snapshot only (milliseconds). In a Python program call it from a thread that Python knows. Not to be
 * called from a signal handler.
 */
extern int gcshim_audit(void) __attribute__((weak));

/* The same; -1 if the shim is not loaded. */
#define GCSHIM_AUDIT() (gcshim_audit ? gcshim_audit() : -1)

/* Collects now, and waits for the result. For GCSHIM_MODE=collect and quarantine.
 *
 * Memory that the program has freed and no word points into becomes reusable. In mode collect, so does memory that was never freed and that nothing
 * reaches; and Python objects that nobody holds although their count says so lose the references that are too many: their destructors run, and the
 * callbacks of their weak references, before this returns.
 *
 * Returns the number of bytes that became reusable;
 *   -1  not in one of these modes
 *   -3  this process does not collect (it was made by vfork)
 *   -4  the collection was given up: the system refused memory or a snapshot, or a thread could not be stopped
 *
 * What is to be kept must be reachable: from stacks, registers, thread-local storage, global variables or private mappings, by a word that points anywhere
 * into the block. Words in files, in shared memory, in the kernel (epoll, io_uring) or in disguise (XOR) do not count. May be called from any thread, not from a
 * signal handler. In a Python program call it from a thread that Python knows.
 */
extern long gcshim_collect(void) __attribute__((weak));

/* The same; -1 if the shim is not loaded. */
#define GCSHIM_COLLECT() (gcshim_collect ? gcshim_collect() : -1L)

#ifdef __cplusplus
}
#endif

#endif
