/* The offsets that the shim's object model uses, as this interpreter's own headers have them: layouts.table, a dict by the names of the constants in src/python. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "layouts", NULL, -1, methods, NULL, NULL, NULL, NULL};

static int put(PyObject *table, const char *name, size_t value) {
    PyObject *number = PyLong_FromSize_t(value);
    int result = number ? PyDict_SetItemString(table, name, number) : -1;
    Py_XDECREF(number);
    return result;
}

PyMODINIT_FUNC PyInit_layouts(void) {
    PyObject *made = PyModule_Create(&module);
    PyObject *table = PyDict_New();
    if (made == NULL || table == NULL)
        return NULL;
    const struct {
        const char *name;
        size_t value;
    } entries[] = {
        {"OB_TYPE", offsetof(PyObject, ob_type)},
        {"OB_SIZE", offsetof(PyVarObject, ob_size)},
        {"TP_NAME", offsetof(PyTypeObject, tp_name)},
        {"TP_BASICSIZE", offsetof(PyTypeObject, tp_basicsize)},
        {"TP_ITEMSIZE", offsetof(PyTypeObject, tp_itemsize)},
        {"TP_GETATTRO", offsetof(PyTypeObject, tp_getattro)},
        {"TP_FLAGS", offsetof(PyTypeObject, tp_flags)},
        {"TP_DOC", offsetof(PyTypeObject, tp_doc)},
        {"TP_TRAVERSE", offsetof(PyTypeObject, tp_traverse)},
        {"TP_WEAKLISTOFFSET", offsetof(PyTypeObject, tp_weaklistoffset)},
        {"TP_BASE", offsetof(PyTypeObject, tp_base)},
        {"STRING_STATE", offsetof(PyASCIIObject, state)},
        {"MODULE_DEF_NAME", offsetof(PyModuleDef, m_name)},
        {"LIST_ITEMS", offsetof(PyListObject, ob_item)},
        {"DICT_KEYS", offsetof(PyDictObject, ma_keys)},
        {"DICT_VALUES", offsetof(PyDictObject, ma_values)},
        {"SET_MASK", offsetof(PySetObject, mask)},
        {"SET_TABLE", offsetof(PySetObject, table)},
        /* Not constants of that name, but facts the sources lean on. */
        {"sizeof(PyASCIIObject)", sizeof(PyASCIIObject)},
        {"sizeof(PyCompactUnicodeObject)", sizeof(PyCompactUnicodeObject)},
        {"sizeof(PyUnicodeObject)", sizeof(PyUnicodeObject)},
        {"sizeof(PyTypeObject)", sizeof(PyTypeObject)},
        {"wr_object", offsetof(PyWeakReference, wr_object)},
        {"wr_callback", offsetof(PyWeakReference, wr_callback)},
        {"wr_prev", offsetof(PyWeakReference, wr_prev)},
        {"wr_next", offsetof(PyWeakReference, wr_next)},
        {"tuple ob_item", offsetof(PyTupleObject, ob_item)},
        {"bytes ob_sval", offsetof(PyBytesObject, ob_sval)},
#if PY_VERSION_HEX >= 0x030B0000
        {"datastack_top", offsetof(PyThreadState, datastack_top)},
        {"datastack_limit", offsetof(PyThreadState, datastack_limit)},
#endif
        {"HAVE_GC", Py_TPFLAGS_HAVE_GC},
        {"HEAPTYPE", Py_TPFLAGS_HEAPTYPE},
        {"READY", Py_TPFLAGS_READY},
        {"TYPE_SUBCLASS", Py_TPFLAGS_TYPE_SUBCLASS},
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (put(table, entries[i].name, entries[i].value) < 0)
            return NULL;
    if (PyModule_AddObject(made, "table", table) < 0)
        return NULL;
    return made;
}
