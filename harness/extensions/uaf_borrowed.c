// Two mistakes with borrowed references, the two that extension modules are full of. harness/programs/uaf_python.py makes them.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

// length(settings, name): how long the value is.
//
// The class of CPython's own issue 115618 (property.getter) and of many a module: what a dict lends is given back as though it were owned. The value is
// freed while the dict has it.
static PyObject *length(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *settings, *name;
    if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &settings, &name))
        return NULL;
    PyObject *value = PyDict_GetItemWithError(settings, name);
    if (!value)
        return NULL;
    Py_ssize_t bytes = PyBytes_GET_SIZE(value);
    Py_DECREF(value); // the mistake: it was borrowed
    return PyLong_FromSsize_t(bytes);
}

// content(settings, name): a copy of the value.
static PyObject *content(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *settings, *name;
    if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &settings, &name))
        return NULL;
    PyObject *value = PyDict_GetItemWithError(settings, name);
    return value ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) : NULL;
}

// first(list, accepts): a copy of the first item for which accepts(item) is true.
//
// The class of CPython's own bpo-38610 (list.index, list.count and others): an item of a list is borrowed while code of the program's runs, and
// that code takes the item out of the list.
static PyObject *first(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *list, *accepts;
    if (!PyArg_ParseTuple(args, "O!O", &PyList_Type, &list, &accepts))
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i); // the mistake: borrowed, and kept over a call
        PyObject *answer = PyObject_CallFunctionObjArgs(accepts, item, NULL);
        if (!answer)
            return NULL;
        int accepted = PyObject_IsTrue(answer);
        Py_DECREF(answer);
        if (accepted)
            return PyBytes_FromStringAndSize(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item));
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"length", length, METH_VARARGS, NULL},
    {"content", content, METH_VARARGS, NULL},
    {"first", first, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "uaf_borrowed",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_uaf_borrowed(void) { return PyModule_Create(&definition); }
