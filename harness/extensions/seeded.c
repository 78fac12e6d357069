/* An extension module that commits the reference-counting bugs that real extensions commit, on demand and N times.
 *
 *     seeded.bug(name, n, arg=None)     commits the bug called `name` n times
 *     seeded.twin(name, n, arg=None)    runs the same code with the one mistake corrected
 *     seeded.names()                    every name, in the order of the table below
 *
 * A bug and its twin share all their code but the mistake, so whatever is said of one and not of the other is said of the
 * mistake.
 * For CPython 3.8 to 3.13. Only documented C API, and nothing that would help a checker find what was lost.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The size of a lost native block, in bytes: in the middle between two usual size classes, and of no Python object. */
#define LOST_BLOCK_SIZE 1237

/* How often the list of an over-released object holds it, and how many references too many are dropped. Half of them stay, so
 * the object is alive and wrong: nothing has crashed yet. */
#define OVER_RELEASED_HELD 10
#define OVER_RELEASED_DROPPED 5

/* The mistake of most leaks: the reference that this code owns is not given back. */
static int give_back(PyObject *object, int wrong)
{
    if (object == NULL)
        return -1;
    if (!wrong)
        Py_DECREF(object);
    return 0;
}

/* ---- types that carry a bug ---- */

/* A pointer holder with two members. Which of them a type's tp_traverse visits is what tells the types below apart. The numbers
 * between the members give the second an offset that is easily recognised: 104 on x86-64. */
typedef struct {
    PyObject_HEAD
    PyObject *first;
    long numbers[10];
    PyObject *second;
    int forgets_its_type;
} Holder;

static void holder_drop_members(Holder *self)
{
    Py_CLEAR(self->first);
    Py_CLEAR(self->second);
}

/* For types without the cycle collector. An instance marked so forgets that it holds a reference to its own type. */
static void holder_dealloc_plain(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    int wrong = ((Holder *)self)->forgets_its_type;
    holder_drop_members((Holder *)self);
    type->tp_free(self);
    if (!wrong)
        Py_DECREF(type);
}

static void holder_dealloc_gc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    holder_drop_members((Holder *)self);
    type->tp_free(self);
    Py_DECREF(type);
}

static int holder_clear(PyObject *self)
{
    holder_drop_members((Holder *)self);
    return 0;
}

/* Since 3.9 an instance of a heap type visits its type. */
#if PY_VERSION_HEX >= 0x03090000
#define VISIT_TYPE(self) Py_VISIT(Py_TYPE(self))
#else
#define VISIT_TYPE(self) ((void)0)
#endif

static int traverse_both(PyObject *self, visitproc visit, void *arg)
{
    VISIT_TYPE(self);
    Py_VISIT(((Holder *)self)->first);
    Py_VISIT(((Holder *)self)->second);
    return 0;
}

static int traverse_first_only(PyObject *self, visitproc visit, void *arg)
{
    VISIT_TYPE(self);
    Py_VISIT(((Holder *)self)->first);
    return 0;
}

static PyType_Slot opaque_slots[] = {{Py_tp_dealloc, holder_dealloc_plain}, {0, NULL}};
static PyType_Slot mindful_slots[] = {
    {Py_tp_dealloc, holder_dealloc_gc}, {Py_tp_traverse, traverse_both}, {Py_tp_clear, holder_clear}, {0, NULL}};
static PyType_Slot forgetful_slots[] = {
    {Py_tp_dealloc, holder_dealloc_gc}, {Py_tp_traverse, traverse_first_only}, {Py_tp_clear, holder_clear}, {0, NULL}};

#define GC_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC)
static PyType_Spec opaque_spec = {"seeded.Opaque", sizeof(Holder), 0, Py_TPFLAGS_DEFAULT, opaque_slots};
static PyType_Spec mindful_spec = {"seeded.Mindful", sizeof(Holder), 0, GC_FLAGS, mindful_slots};
static PyType_Spec forgetful_spec = {"seeded.Forgetful", sizeof(Holder), 0, GC_FLAGS, forgetful_slots};

static PyTypeObject *Opaque;    /* not known to the cycle collector at all */
static PyTypeObject *Mindful;   /* right */
static PyTypeObject *Forgetful; /* visits `first`, never `second` */

static Holder *new_holder(PyTypeObject *type)
{
    return (Holder *)type->tp_alloc(type, 0);
}

/* ---- leaked objects ---- */

static int leaked_list(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    return give_back(Py_BuildValue("[iii]", 1, 2, 3), wrong);
}

static int leaked_tuple(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    return give_back(Py_BuildValue("(ii)", 1, 2), wrong);
}

static int leaked_dict(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    return give_back(Py_BuildValue("{s:i,s:i}", "one", 1, "two", 2), wrong);
}

static int leaked_bytes(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)arg;
    return give_back(PyBytes_FromFormat("seeded bytes number %zd", i), wrong);
}

static int leaked_str(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)arg;
    return give_back(PyUnicode_FromFormat("a seeded string, number %zd", i), wrong);
}

static int leaked_int(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)arg;
    return give_back(PyLong_FromLongLong(1000000000000000LL + i), wrong);
}

static int leaked_float(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)arg;
    return give_back(PyFloat_FromDouble(0.1 + (double)i), wrong);
}

/* arg: a class. Its instance gets one attribute, so that it has whatever the version keeps attributes in. */
static PyObject *new_instance(Py_ssize_t i, PyObject *class)
{
    PyObject *payload = PyLong_FromLongLong(2000000000000000LL + i);
    PyObject *instance = payload == NULL ? NULL : PyObject_CallObject(class, NULL);
    if (instance != NULL && PyObject_SetAttrString(instance, "payload", payload) < 0)
        Py_CLEAR(instance);
    Py_XDECREF(payload);
    return instance;
}

static int leaked_instance(Py_ssize_t i, PyObject *arg, int wrong)
{
    return give_back(new_instance(i, arg), wrong);
}

/* arg: (class, list). A weak reference to the instance goes to the list: it points, and holds nothing. */
static int leaked_weakly_known(Py_ssize_t i, PyObject *arg, int wrong)
{
    PyObject *instance = new_instance(i, PyTuple_GET_ITEM(arg, 0));
    PyObject *reference = instance == NULL ? NULL : PyWeakref_NewRef(instance, NULL);
    int failed = reference == NULL || PyList_Append(PyTuple_GET_ITEM(arg, 1), reference) < 0;
    Py_XDECREF(reference);
    return give_back(instance, wrong) < 0 || failed ? -1 : 0;
}

/* arg: (dict, set). The object's address, as a number, is a key of the one and a member of the other. The hash of an int is its value, so
 * both tables have a word that equals the address and holds nothing. */
static int leaked_numbered(Py_ssize_t i, PyObject *arg, int wrong)
{
    PyObject *object = PyBytes_FromFormat("known by its number, number %zd", i);
    PyObject *number = object == NULL ? NULL : PyLong_FromVoidPtr(object);
    int failed = number == NULL || PyDict_SetItem(PyTuple_GET_ITEM(arg, 0), number, Py_None) < 0
        || PySet_Add(PyTuple_GET_ITEM(arg, 1), number) < 0;
    Py_XDECREF(number);
    return give_back(object, wrong) < 0 || failed ? -1 : 0;
}

/* arg: a bound method, of which another is made. */
static int leaked_method(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i;
    return give_back(PyMethod_New(PyMethod_GET_FUNCTION(arg), PyMethod_GET_SELF(arg)), wrong);
}

/* arg: a generator function. */
static int leaked_generator(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i;
    return give_back(PyObject_CallObject(arg, NULL), wrong);
}

static int leaked_running_generator(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i;
    PyObject *generator = PyObject_CallObject(arg, NULL);
    PyObject *item = generator == NULL ? NULL : PyIter_Next(generator);
    int failed = item == NULL;
    Py_XDECREF(item);
    return give_back(generator, wrong) < 0 || failed ? -1 : 0;
}

/* One list is lost; the three tuples in it are held rightly, by something that is lost. */
static int leaked_list_of_tuples(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    return give_back(Py_BuildValue("[(i)(i)(i)]", 1, 2, 3), wrong);
}

/* The object's only owner gives its reference back, but two more were taken. */
static int leaked_twice(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)arg;
    PyObject *object = PyBytes_FromFormat("taken three times, number %zd", i);
    if (object == NULL)
        return -1;
    if (wrong) {
        Py_INCREF(object);
        Py_INCREF(object);
    }
    Py_DECREF(object);
    return 0;
}

/* ---- wrong counts of objects that are in use ---- */

/* arg: any object that somebody holds. */
static int surplus_reference(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i;
    Py_INCREF(arg);
    if (!wrong)
        Py_DECREF(arg);
    return 0;
}

/* An instance of a heap type owns a reference to the type. This one's tp_dealloc forgets it. */
static int forgotten_type(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    Holder *holder = new_holder(Opaque);
    if (holder == NULL)
        return -1;
    holder->forgets_its_type = wrong;
    Py_DECREF(holder);
    return 0;
}

/* The list that holds the over-released objects. It belongs to this file and is never given up, so that the interpreter can
 * come to its end without freeing anything twice. */
static PyObject *over_released_list;

static int over_released(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)arg;
    if (over_released_list == NULL && (over_released_list = PyList_New(0)) == NULL)
        return -1;
    PyObject *object = PyBytes_FromFormat("dropped too often, number %zd", i);
    if (object == NULL)
        return -1;
    int failed = 0;
    for (int k = 0; k < OVER_RELEASED_HELD && !failed; k++)
        failed = PyList_Append(over_released_list, object) < 0;
    if (wrong && !failed)
        for (int k = 0; k < OVER_RELEASED_DROPPED; k++)
            Py_DECREF(object);
    Py_DECREF(object);
    return failed ? -1 : 0;
}

/* A type made by hand in raw memory, as some libraries make many alike. It has no instances: nothing but its owners tells that it is an object. */
static PyTypeObject *made_by_hand(void)
{
    static PyTypeObject *type;
    if (type == NULL) {
        PyTypeObject *made = PyMem_Malloc(sizeof *made);
        if (made == NULL)
            return NULL;
        *made = (PyTypeObject){PyVarObject_HEAD_INIT(NULL, 0).tp_name = "seeded.ByHand", .tp_basicsize = sizeof(PyObject), .tp_flags = Py_TPFLAGS_DEFAULT};
        if (PyType_Ready(made) == 0)
            type = made;
    }
    return type;
}

/* The list holds it three times more, and it is dropped twice. From 3.13 on such types are immortal. */
static int over_released_type(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    PyObject *type = (PyObject *)made_by_hand();
    if (type == NULL || (over_released_list == NULL && (over_released_list = PyList_New(0)) == NULL))
        return -1;
    for (int k = 0; k < 3; k++)
        if (PyList_Append(over_released_list, type) < 0)
            return -1;
    if (wrong) {
        Py_DECREF(type);
        Py_DECREF(type);
    }
    return 0;
}

/* ---- cycles, and members that the cycle collector is not told of ---- */

/* A list and a holder that hold each other, given up by everybody else. `second` is the member that Forgetful forgets. */
static int drop_cycle(PyTypeObject *type)
{
    Holder *holder = new_holder(type);
    PyObject *list = holder == NULL ? NULL : PyList_New(0);
    if (list == NULL || PyList_Append(list, (PyObject *)holder) < 0) {
        Py_XDECREF(list);
        Py_XDECREF(holder);
        return -1;
    }
    holder->second = list;
    Py_DECREF(holder);
    return 0;
}

/* The type has no tp_traverse at all. */
static int opaque_cycle(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    return drop_cycle(wrong ? Opaque : Mindful);
}

/* The type has one that does not visit the member. */
static int forgotten_cycle(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    return drop_cycle(wrong ? Forgetful : Mindful);
}

/* arg: a list that keeps the holders alive. No cycle anywhere: so far the forgotten member does no harm. */
static int forgotten_member(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i;
    Holder *holder = new_holder(wrong ? Forgetful : Mindful);
    if (holder == NULL)
        return -1;
    holder->first = PyList_New(0);
    holder->second = PyList_New(0);
    int failed = holder->first == NULL || holder->second == NULL || PyList_Append(arg, (PyObject *)holder) < 0;
    Py_DECREF(holder);
    return failed ? -1 : 0;
}

/* ---- native memory ---- */

static int lost_malloc(Py_ssize_t i, PyObject *arg, int wrong)
{
    (void)i, (void)arg;
    char *block = malloc(LOST_BLOCK_SIZE);
    if (block == NULL)
        return -1;
    memset(block, 0x5a, LOST_BLOCK_SIZE);
    /* Without this the compiler may remove the allocation that it sees freed unread. */
    __asm__ volatile("" : : "r"(block) : "memory");
    if (!wrong)
        free(block);
    return 0;
}

/* ---- the module ---- */

static const struct {
    const char *name;
    int (*commit)(Py_ssize_t i, PyObject *arg, int wrong);
} bugs[] = {
#define BUG(name) {#name, name}
    BUG(leaked_list),
    BUG(leaked_tuple),
    BUG(leaked_dict),
    BUG(leaked_bytes),
    BUG(leaked_str),
    BUG(leaked_int),
    BUG(leaked_float),
    BUG(leaked_instance),
    BUG(leaked_weakly_known),
    BUG(leaked_numbered),
    BUG(leaked_method),
    BUG(leaked_generator),
    BUG(leaked_running_generator),
    BUG(leaked_list_of_tuples),
    BUG(leaked_twice),
    BUG(surplus_reference),
    BUG(forgotten_type),
    BUG(over_released),
    BUG(over_released_type),
    BUG(opaque_cycle),
    BUG(forgotten_cycle),
    BUG(forgotten_member),
    BUG(lost_malloc),
};
#define BUG_COUNT ((Py_ssize_t)(sizeof(bugs) / sizeof(bugs[0])))

/* Overwrites the part of the stack that the bug ran on. A program that runs on does so by itself; this one is about to end, and a
 * dead copy of a pointer would rightly be taken for a living one. */
static __attribute__((noinline)) void wipe_stack(void)
{
    volatile char scrap[64 * 1024];
    for (size_t i = 0; i < sizeof scrap; i++)
        scrap[i] = 0;
}

static PyObject *commit(PyObject *args, int wrong)
{
    const char *name;
    Py_ssize_t n;
    PyObject *arg = Py_None;
    if (!PyArg_ParseTuple(args, "sn|O", &name, &n, &arg))
        return NULL;
    for (Py_ssize_t b = 0; b < BUG_COUNT; b++) {
        if (strcmp(bugs[b].name, name) != 0)
            continue;
        for (Py_ssize_t i = 0; i < n; i++)
            if (bugs[b].commit(i, arg, wrong) < 0)
                return PyErr_Occurred() ? NULL : PyErr_NoMemory();
        wipe_stack();
        Py_RETURN_NONE;
    }
    return PyErr_Format(PyExc_ValueError, "no bug is called '%s'", name);
}

static PyObject *seeded_bug(PyObject *self, PyObject *args)
{
    (void)self;
    return commit(args, 1);
}

static PyObject *seeded_twin(PyObject *self, PyObject *args)
{
    (void)self;
    return commit(args, 0);
}

static PyObject *seeded_names(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    PyObject *names = PyTuple_New(BUG_COUNT);
    for (Py_ssize_t b = 0; names != NULL && b < BUG_COUNT; b++) {
        PyObject *name = PyUnicode_FromString(bugs[b].name);
        if (name == NULL)
            Py_CLEAR(names);
        else
            PyTuple_SET_ITEM(names, b, name);
    }
    return names;
}

/* For the check of the bugs themselves (seeded_check.py): the list of over-released objects, and the bytes that the C library's
 * malloc has handed out. */
static PyObject *seeded_over_released_list(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    PyObject *list = over_released_list == NULL ? Py_None : over_released_list;
    Py_INCREF(list);
    return list;
}

static PyObject *seeded_malloc_in_use(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromSize_t(mallinfo2().uordblks);
}

static PyMethodDef methods[] = {
    {"bug", seeded_bug, METH_VARARGS, "bug(name, n, arg=None): commit a bug n times"},
    {"twin", seeded_twin, METH_VARARGS, "twin(name, n, arg=None): the same without the mistake"},
    {"names", seeded_names, METH_NOARGS, "names(): what can be committed"},
    {"over_released_list", seeded_over_released_list, METH_NOARGS, "The list that holds the over-released objects"},
    {"malloc_in_use", seeded_malloc_in_use, METH_NOARGS, "Bytes that malloc has handed out"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT, "seeded", NULL, -1, methods, NULL, NULL, NULL, NULL};

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec, const char *name)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL)
        return NULL;
    Py_INCREF(type); /* one reference for the static variable, one for the module */
    if (PyModule_AddObject(module, name, type) < 0) {
        Py_DECREF(type);
        Py_DECREF(type);
        return NULL;
    }
    return (PyTypeObject *)type;
}

PyMODINIT_FUNC PyInit_seeded(void)
{
    PyObject *module = PyModule_Create(&module_def);
    if (module == NULL)
        return NULL;
    Opaque = add_type(module, &opaque_spec, "Opaque");
    Mindful = add_type(module, &mindful_spec, "Mindful");
    Forgetful = add_type(module, &forgetful_spec, "Forgetful");
    if (Opaque == NULL || Mindful == NULL || Forgetful == NULL) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
