/* An extension with an ordinary bug: `greet` builds a list, returns a string made from it, and forgets to drop the list on one path. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *greet(PyObject *module, PyObject *name) {
    (void)module;
    PyObject *words = Py_BuildValue("[sO]", "hello", name);
    if (words == NULL)
        return NULL;
    PyObject *space = PyUnicode_FromString(" ");
    PyObject *text = space ? PyUnicode_Join(space, words) : NULL;
    Py_XDECREF(space);
    /* Py_DECREF(words) is missing here. */
    return text;
}

static PyMethodDef methods[] = {{"greet", greet, METH_O, "greet(name): a greeting"}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "leaky", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_leaky(void) { return PyModule_Create(&module); }
