/* Owners that do not keep the address of what they own, each as a type: right, and once with a reference too many.
 *
 *   Watcher   an event loop's: a list in malloc'ed memory links the member `link` of each, and owns a reference to it
 *   Stateful  owns a container, and keeps a pointer to what the container keeps outside of itself: its tp_traverse visits the container
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct {
    PyObject_HEAD
    long priority;
    struct link {
        struct link *next;
    } link;
} Watcher;

/* Compiled to be found by its address: the loop lies in malloc'ed memory, as libev's does. */
static struct loop {
    struct link *watchers[1000];
    size_t count;
} *loop;

static void watcher_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot watcher_slots[] = {{Py_tp_dealloc, watcher_dealloc}, {0, NULL}};
static PyType_Spec watcher_spec = {"hidden_owners.Watcher", sizeof(Watcher), 0, Py_TPFLAGS_DEFAULT, watcher_slots};

/* The owned object's address, so disguised that no word equals it: what stands for a pointer to its state. */
typedef struct {
    PyObject_HEAD
    uintptr_t state;
} Stateful;

#define DISGUISED(address) (~(uintptr_t)(address))

static PyObject *owned_by(PyObject *self)
{
    return (PyObject *)~((Stateful *)self)->state;
}

static int stateful_traverse(PyObject *self, visitproc visit, void *arg)
{
#if PY_VERSION_HEX >= 0x03090000
    Py_VISIT(Py_TYPE(self));
#endif
    return visit(owned_by(self), arg);
}

static void stateful_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(owned_by(self));
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot stateful_slots[] = {{Py_tp_dealloc, stateful_dealloc}, {Py_tp_traverse, stateful_traverse}, {0, NULL}};
static PyType_Spec stateful_spec = {
    "hidden_owners.Stateful", sizeof(Stateful), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, stateful_slots};

static PyTypeObject *WatcherType, *StatefulType;

/* watch(extra): a watcher that the loop owns, with as many references too many. */
static PyObject *watch(PyObject *module, PyObject *args)
{
    (void)module;
    int extra;
    if (!PyArg_ParseTuple(args, "i", &extra))
        return NULL;
    if (loop == NULL)
        loop = calloc(1, sizeof *loop);
    Watcher *watcher = (Watcher *)WatcherType->tp_alloc(WatcherType, 0);
    if (loop == NULL || watcher == NULL || loop->count == 1000)
        return PyErr_NoMemory();
    loop->watchers[loop->count++] = &watcher->link;
    for (int i = 0; i < extra; i++)
        Py_INCREF(watcher);
    Py_RETURN_NONE;
}

/* own(object, extra): an object that owns `object` and does not know its address, with as many references to `object` too many. */
static PyObject *own(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *object;
    int extra;
    if (!PyArg_ParseTuple(args, "Oi", &object, &extra))
        return NULL;
    Stateful *self = (Stateful *)StatefulType->tp_alloc(StatefulType, 0);
    if (self == NULL)
        return NULL;
    for (int i = 0; i <= extra; i++)
        Py_INCREF(object);
    self->state = DISGUISED(object);
    return (PyObject *)self;
}

static PyMethodDef methods[] = {{"watch", watch, METH_VARARGS, NULL}, {"own", own, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "hidden_owners", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_hidden_owners(void)
{
    WatcherType = (PyTypeObject *)PyType_FromSpec(&watcher_spec);
    StatefulType = (PyTypeObject *)PyType_FromSpec(&stateful_spec);
    return WatcherType == NULL || StatefulType == NULL ? NULL : PyModule_Create(&definition);
}
