/* Types whose tp_traverse misbehaves, each in its own way, but only in a process other than the one that imported the module: in the program itself the
 * collector may call them safely. An instance holds one object, and visits it as it should before it misbehaves.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    PyObject *held;
} Holder;

static pid_t home;

/* What the functions below do their damage to. */
static PyObject *victims;

static void *volatile escaped;

static int *volatile nowhere = (int *)8;

static void crash(Holder *self)
{
    (void)self;
    *nowhere = 1;
}

static void hang(Holder *self)
{
    (void)self;
    for (volatile int i = 0;; i++)
        ;
}

static void sleep_for_ever(Holder *self)
{
    (void)self;
    for (;;)
        pause();
}

static void call_abort(Holder *self)
{
    (void)self;
    abort();
}

static int sink;

static volatile int deep_enough;

static __attribute__((noinline)) int deeper(volatile char *above)
{
    volatile char frame[4096];
    frame[0] = above[0];
    frame[1] = 1;
    return deep_enough ? 0 : deeper(frame) + frame[1];
}

static void recurse(Holder *self)
{
    volatile char frame[1] = {0};
    (void)self;
    sink = deeper(frame);
}

static void allocate(Holder *self)
{
    (void)self;
    for (size_t size = 1; size < 200000; size = size * 2 + 3) {
        char *block = malloc(size);
        if (block == NULL)
            abort();
        memset(block, 1, size);
        escaped = block;
        free(block);
    }
    escaped = malloc(100);
}

static void make_objects(Holder *self)
{
    (void)self;
    PyObject *list = PyList_New(0);
    PyList_Append(list, Py_None);
    PyObject *text = PyUnicode_FromString("made by tp_traverse");
    PyList_Append(list, text);
    Py_DECREF(text);
    Py_DECREF(list);
}

/* Takes a reference to each victim and never gives it back: their counts would all be one too high. */
static void take_references(Holder *self)
{
    (void)self;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(victims); i++)
        Py_INCREF(PyList_GET_ITEM(victims, i));
}

/* Empties what it was to show. */
static void destroy(Holder *self)
{
    Py_CLEAR(self->held);
}

static void write_garbage(Holder *self)
{
    memset((char *)self + sizeof(PyObject), 0x41, sizeof(Holder) - sizeof(PyObject));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(victims); i++)
        memset(PyList_GET_ITEM(victims, i), 0x42, sizeof(PyObject));
}

static void leave(Holder *self)
{
    (void)self;
    _exit(0);
}

#define KINDS(K)                                                                                                                \
    K(Crash, crash) K(Hang, hang) K(Sleep, sleep_for_ever) K(Abort, call_abort) K(Recurse, recurse) K(Allocate, allocate)       \
        K(Make, make_objects) K(Take, take_references) K(Destroy, destroy) K(Garbage, write_garbage) K(Leave, leave)

#define TRAVERSE(name, misbehave)                                                                                               \
    static int name##_traverse(Holder *self, visitproc visit, void *arg)                                                        \
    {                                                                                                                           \
        Py_VISIT(self->held);                                                                                                   \
        if (getpid() != home)                                                                                                   \
            misbehave(self);                                                                                                    \
        return 0;                                                                                                               \
    }
KINDS(TRAVERSE)

static int holder_clear(Holder *self)
{
    Py_CLEAR(self->held);
    return 0;
}

static void holder_dealloc(Holder *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->held);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int holder_init(Holder *self, PyObject *args, PyObject *kwargs)
{
    PyObject *held, *before = self->held;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "O", &held))
        return -1;
    Py_INCREF(held);
    self->held = held;
    Py_XDECREF(before);
    return 0;
}

#define TYPE(name, misbehave)                                                                                                   \
    static PyTypeObject name##_type = {                                                                                         \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traverse_bad." #name,                                                         \
        .tp_basicsize = sizeof(Holder),                                                                                         \
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,                                                                    \
        .tp_new = PyType_GenericNew,                                                                                            \
        .tp_init = (initproc)holder_init,                                                                                       \
        .tp_traverse = (traverseproc)name##_traverse,                                                                           \
        .tp_clear = (inquiry)holder_clear,                                                                                      \
        .tp_dealloc = (destructor)holder_dealloc,                                                                               \
    };
KINDS(TYPE)

static PyObject *set_victims(PyObject *module, PyObject *list)
{
    (void)module;
    if (!PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "a list is wanted");
        return NULL;
    }
    Py_INCREF(list);
    Py_XDECREF(victims);
    victims = list;
    Py_RETURN_NONE;
}

static PyObject *leak(PyObject *module, PyObject *object)
{
    (void)module;
    Py_INCREF(object);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"set_victims", set_victims, METH_O, NULL},
    {"leak", leak, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "traverse_bad", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_traverse_bad(void)
{
    PyObject *module = PyModule_Create(&definition);
    home = getpid();
#define ADD(name, misbehave)                                                                                                    \
    if (module == NULL || PyType_Ready(&name##_type) < 0 || PyModule_AddObject(module, #name, (PyObject *)&name##_type) < 0)    \
        return NULL;                                                                                                            \
    Py_INCREF(&name##_type);
    KINDS(ADD)
    return module;
}
