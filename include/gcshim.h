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

#ifdef __cplusplus
}
#endif

#endif
