/* An extension module for the oracle: what every container owns, as its own tp_traverse says it in the program, and then an audit.
 *
 *     edges.audit(path)     writes pairs of 64-bit words (container, what it owns) for every object of the collector to the file, and calls
 *                           gcshim_audit(); answers what that answers
 *
 * Between the last pair and the audit no Python code runs and no object is made, so both see the same references. For CPython 3.8 to 3.13.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "../../include/gcshim.h"

typedef struct {
    uint64_t container, owned;
} Pair;

static Pair pairs[4096];
static size_t pair_count;
static int file = -1;
static int failed;

static void flush(void)
{
    const char *at = (const char *)pairs;
    size_t left = pair_count * sizeof(Pair);
    while (left > 0) {
        ssize_t n = write(file, at, left);
        if (n <= 0) {
            failed = 1;
            break;
        }
        at += n;
        left -= (size_t)n;
    }
    pair_count = 0;
}

static int note(PyObject *owned, void *container)
{
    if (pair_count == sizeof pairs / sizeof *pairs)
        flush();
    pairs[pair_count].container = (uint64_t)container;
    pairs[pair_count].owned = (uint64_t)owned;
    pair_count++;
    return 0;
}

static PyObject *collectors_objects(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    if (gc == NULL)
        return NULL;
    /* Otherwise making the list could start a collection, and what is listed would be gone. */
    PyObject *none = PyObject_CallMethod(gc, "disable", NULL);
    PyObject *list = none ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
    Py_XDECREF(none);
    Py_DECREF(gc);
    return list;
}

static PyObject *audit(PyObject *Py_UNUSED(module), PyObject *path)
{
    PyObject *bytes;
    if (!PyUnicode_FSConverter(path, &bytes))
        return NULL;
    file = open(PyBytes_AS_STRING(bytes), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    Py_DECREF(bytes);
    if (file < 0)
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    PyObject *list = collectors_objects();
    if (list == NULL) {
        close(file);
        return NULL;
    }
    failed = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *container = PyList_GET_ITEM(list, i);
        Py_TYPE(container)->tp_traverse(container, note, container);
    }
    flush();
    /* The pairs are words that equal objects' addresses and hold nothing. */
    memset(pairs, 0, sizeof pairs);
    close(file);
    int result = failed ? -100 : GCSHIM_AUDIT();
    Py_DECREF(list);
    return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {{"audit", audit, METH_O, "Writes what every container owns, and audits."}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "edges", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_edges(void)
{
    return PyModule_Create(&module);
}
