/* What a process exports in which an interpreter lives that gcshim does not audit: -DVERSION="..." for Py_GetVersion, -DTRACE_REFS for what such
 * builds have, -DPYPY for PyPy, which has names of its own. Preloaded behind the shim. */
#ifdef PYPY
int pypy_main_startup(int count, char **arguments)
{
    return count + (arguments != 0);
}
#else
const char *Py_GetVersion(void)
{
    return VERSION;
}

int Py_IsInitialized(void)
{
    return 0;
}

void PyMem_SetAllocator(int domain, void *allocator)
{
    /* Being called at all would be the mistake. */
    (void)domain, (void)allocator;
    __builtin_trap();
}
#ifdef TRACE_REFS
void _Py_AddToAllObjects(void *object, int force)
{
    (void)object, (void)force;
}
#endif
#endif
