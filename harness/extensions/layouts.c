/* An extension module that knows the interpreter's structures from its own headers.
 *
 *     layouts.table()       name -> number. A name in capitals is a constant of the shim's of the same name, in small letters an answer of one of
 *                           its functions
 *     layouts.immortal(n)   whether an object with this word as its reference count is immortal; None where no object is
 *
 * What no header has is looked for in an object that is made for it.
 */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
/* The headers' own assertions would look at what is made up here. */
#define NDEBUG
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <Python.h>

#include <datetime.h>
#include <frameobject.h>
#if PY_VERSION_HEX >= 0x03090000
#include <internal/pycore_gc.h>
#include <internal/pycore_runtime.h>
#else
#include <internal/pycore_pystate.h>
#endif
#if PY_VERSION_HEX >= 0x030b0000
#include <internal/pycore_dict.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_object.h>
#include <internal/pycore_runtime_init.h>
#include <internal/pycore_typeobject.h>
#endif
#pragma GCC diagnostic pop

#include <stddef.h>
#include <string.h>

#define MINOR PY_MINOR_VERSION
/* Room for objects whose words are only looked at, never used as objects. */
typedef union {
    uint64_t words[64];
    PyASCIIObject string;
    PyTypeObject type;
    PyObject object;
} Made;

static PyObject *numbers;

static void put(const char *name, unsigned long long value)
{
    PyObject *number = PyLong_FromUnsignedLongLong(value);
    if (number == NULL || PyDict_SetItemString(numbers, name, number) < 0)
        Py_FatalError("layouts: no memory");
    Py_DECREF(number);
}

#define FIELD(name, structure, field) put(name, offsetof(structure, field))

static void objects(void)
{
    FIELD("OB_TYPE", PyObject, ob_type);
    FIELD("OB_SIZE", PyVarObject, ob_size);
    put("header", sizeof(PyObject));
    put("GC_HEAD_BYTES", sizeof(PyGC_Head));
    FIELD("gc_prev", PyGC_Head, _gc_prev);
    FIELD("LIST_ITEMS", PyListObject, ob_item);
    FIELD("TUPLE_ITEMS", PyTupleObject, ob_item);
    FIELD("tuple_items", PyTupleObject, ob_item);
    FIELD("bytes_text", PyBytesObject, ob_sval);
    FIELD("weakref_object", PyWeakReference, wr_object);
    FIELD("weakref_callback", PyWeakReference, wr_callback);
    FIELD("weakref_hash", PyWeakReference, hash);
    FIELD("weakref_prev", PyWeakReference, wr_prev);
    FIELD("weakref_next", PyWeakReference, wr_next);
    (void)PyDateTimeAPI;
    put("TIME_BYTES", sizeof(PyDateTime_Time));
    put("NAIVE_TIME_BYTES", sizeof(_PyDateTime_BaseTime));
}

static void types(void)
{
    FIELD("TP_NAME", PyTypeObject, tp_name);
    FIELD("TP_BASICSIZE", PyTypeObject, tp_basicsize);
    FIELD("TP_ITEMSIZE", PyTypeObject, tp_itemsize);
    FIELD("TP_FLAGS", PyTypeObject, tp_flags);
    FIELD("TP_DOC", PyTypeObject, tp_doc);
    FIELD("TP_TRAVERSE", PyTypeObject, tp_traverse);
    FIELD("TP_WEAKLISTOFFSET", PyTypeObject, tp_weaklistoffset);
    FIELD("TP_MRO", PyTypeObject, tp_mro);
    FIELD("TP_BASE", PyTypeObject, tp_base);
    FIELD("TP_GETATTRO", PyTypeObject, tp_getattro);
    FIELD("tp_subclasses", PyTypeObject, tp_subclasses);
    put("type", sizeof(PyTypeObject));
    put("HEAPTYPE", Py_TPFLAGS_HEAPTYPE);
    put("READY", Py_TPFLAGS_READY);
    put("READYING", Py_TPFLAGS_READYING);
    put("HAVE_GC", Py_TPFLAGS_HAVE_GC);
    put("LIST_SUBCLASS", Py_TPFLAGS_LIST_SUBCLASS);
    put("DICT_SUBCLASS", Py_TPFLAGS_DICT_SUBCLASS);
    put("TYPE_SUBCLASS", Py_TPFLAGS_TYPE_SUBCLASS);
#if MINOR >= 11
    put("MANAGED_DICT", Py_TPFLAGS_MANAGED_DICT);
    /* The words before an object, by its type's flags. */
    Made made;
    memset(&made, 0, sizeof made);
    made.type.tp_flags = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_MANAGED_DICT;
    put("before_managed_dict", _PyType_PreHeaderSize(&made.type));
    put("type_cache", 1 << MCACHE_SIZE_EXP);
#endif
#if MINOR >= 12
    put("MANAGED_WEAKREF", Py_TPFLAGS_MANAGED_WEAKREF);
    made.type.tp_flags = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_MANAGED_WEAKREF;
    put("before_managed_weakref", _PyType_PreHeaderSize(&made.type));
    put("managed_weakref", (char *)&made.words[32] - (char *)((PyObject **)&made.words[32] + MANAGED_WEAKREF_OFFSET / (long)sizeof(PyObject *)));
#endif
#if MINOR >= 13
    put("INLINE_VALUES", Py_TPFLAGS_INLINE_VALUES);
#endif
}

static void strings(void)
{
    Made made;
    FIELD("STRING_LENGTH", PyASCIIObject, length);
    FIELD("STRING_STATE", PyASCIIObject, state);
    put("STRING_BYTES_MIN", offsetof(PyASCIIObject, state) + 8);
    put("ascii", sizeof(PyASCIIObject));
    put("compact", sizeof(PyCompactUnicodeObject));
    put("unicode", sizeof(PyUnicodeObject));
#define BITS(name, field, value)                                                                                                        \
    do {                                                                                                                                \
        uint32_t word;                                                                                                                  \
        memset(&made, 0, sizeof made);                                                                                                  \
        made.string.state.field = value;                                                                                                \
        memcpy(&word, &made.string.state, sizeof word);                                                                                 \
        put(name, word);                                                                                                                \
    } while (0)
    BITS("state_interned", interned, 1);
    BITS("state_kind", kind, 1);
    BITS("state_compact", compact, 1);
    BITS("state_ascii", ascii, 1);
}

static int put_place(const char *name, const void *structure, const void *pointer, size_t limit)
{
    for (size_t at = 0; at < limit; at += sizeof pointer) {
        if (memcmp((const char *)structure + at, &pointer, sizeof pointer) == 0) {
            put(name, at);
            return 0;
        }
    }
    PyErr_Format(PyExc_AssertionError, "%s is not there", name);
    return -1;
}

static int containers(void)
{
    FIELD("DICT_KEYS", PyDictObject, ma_keys);
    FIELD("DICT_VALUES", PyDictObject, ma_values);
    FIELD("SET_MASK", PySetObject, mask);
    FIELD("SET_TABLE", PySetObject, table);
    FIELD("set_small_table", PySetObject, smalltable);
    put("set_small_table_end", offsetof(PySetObject, smalltable) + sizeof(((PySetObject *)0)->smalltable));
    put("set_entry", sizeof(setentry));
    FIELD("set_entry_hash", setentry, hash);
    /* A table of one entry, whose key is no str: eight indices of one byte, then hash, key and value. Until 3.10 no header has it. */
    PyObject *key = PyLong_FromLong(1234567), *dict = PyDict_New();
    int result = -1;
    if (key != NULL && dict != NULL && PyDict_SetItem(dict, key, key) == 0) {
        char *keys = (char *)((PyDictObject *)dict)->ma_keys;
        result = put_place("dict_keys_to_first_key", keys, key, 128);
    }
    Py_XDECREF(key);
    Py_XDECREF(dict);
#if MINOR >= 11
    FIELD("dict_indices", PyDictKeysObject, dk_indices);
    FIELD("dict_entries_in_use", PyDictKeysObject, dk_nentries);
#endif
#if MINOR == 11
    Made made;
    put("values_pointer", (char *)&made - (char *)_PyObject_ValuesPointer(&made.object));
#elif MINOR == 12
    Made made;
    put("values_pointer", (char *)&made - (char *)_PyObject_DictOrValuesPointer(&made.object));
#elif MINOR >= 13
    put("VALUES_HEADER_BYTES", offsetof(struct _dictvalues, values));
    FIELD("values_capacity", struct _dictvalues, capacity);
    FIELD("values_valid", struct _dictvalues, valid);
#endif
    return result;
}

static int modules(PyObject *module)
{
    FIELD("MODULE_DEF_NAME", PyModuleDef, m_name);
    /* Until 3.9 no header has it. */
    return put_place("MODULE_DEF", module, PyModule_GetDef(module), 64);
}

static void frames_and_threads(void)
{
#if MINOR <= 10
    FIELD("frame_value_stack", PyFrameObject, f_valuestack);
    FIELD("frame_generator", PyFrameObject, f_gen);
#endif
#if MINOR <= 10
    FIELD("walking_current", PyThreadState, frame);
    FIELD("walking_back", PyFrameObject, f_back);
    FIELD("walking_code", PyFrameObject, f_code);
    FIELD("walking_position", PyFrameObject, f_lasti);
    put("walking_frame", sizeof(PyFrameObject));
    FIELD("walking_name", PyCodeObject, co_name);
#else
#if MINOR <= 12
    FIELD("walking_current", PyThreadState, cframe);
    FIELD("walking_through", _PyCFrame, current_frame);
    FIELD("walking_code", _PyInterpreterFrame, f_code);
    FIELD("walking_position", _PyInterpreterFrame, prev_instr);
#else
    FIELD("walking_current", PyThreadState, current_frame);
    FIELD("walking_code", _PyInterpreterFrame, f_executable);
    FIELD("walking_position", _PyInterpreterFrame, instr_ptr);
#endif
    FIELD("walking_back", _PyInterpreterFrame, previous);
    put("walking_frame", sizeof(_PyInterpreterFrame));
    FIELD("walking_name", PyCodeObject, co_qualname);
    FIELD("walking_instructions", PyCodeObject, co_code_adaptive);
#endif
#if MINOR >= 12
    FIELD("walking_owner", _PyInterpreterFrame, owner);
    put("FRAME_OWNED_BY_CSTACK", FRAME_OWNED_BY_CSTACK);
#endif
    FIELD("walking_file", PyCodeObject, co_filename);
#if MINOR <= 9
    FIELD("walking_table", PyCodeObject, co_lnotab);
#else
    FIELD("walking_table", PyCodeObject, co_linetable);
#endif
    FIELD("walking_first_line", PyCodeObject, co_firstlineno);
    put("walking_code_object", sizeof(PyCodeObject));
#if MINOR <= 11
    FIELD("interpreters_made", _PyRuntimeState, interpreters.next_id);
#endif
#if MINOR >= 12
    FIELD("interpreter_gil", PyInterpreterState, ceval.gil);
    FIELD("GIL_LOCKED", struct _gil_runtime_state, locked);
#endif
#if MINOR <= 9
    FIELD("frame_top_address", PyFrameObject, f_stacktop);
#elif MINOR == 10
    FIELD("frame_top_depth", PyFrameObject, f_stackdepth);
#else
    FIELD("datastack_top", PyThreadState, datastack_top);
    FIELD("datastack_limit", PyThreadState, datastack_limit);
#endif
}

static void functions(void)
{
    FIELD("allocator_context", PyMemAllocatorEx, ctx);
    FIELD("allocator_malloc", PyMemAllocatorEx, malloc);
    FIELD("allocator_calloc", PyMemAllocatorEx, calloc);
    FIELD("allocator_realloc", PyMemAllocatorEx, realloc);
    FIELD("allocator_free", PyMemAllocatorEx, free);
    put("allocator", sizeof(PyMemAllocatorEx));
    put("DOMAIN_RAW", PYMEM_DOMAIN_RAW);
    put("DOMAIN_MEM", PYMEM_DOMAIN_MEM);
    put("DOMAIN_OBJ", PYMEM_DOMAIN_OBJ);
    FIELD("method_name", PyMethodDef, ml_name);
    FIELD("method_function", PyMethodDef, ml_meth);
    FIELD("method_flags", PyMethodDef, ml_flags);
    FIELD("method_doc", PyMethodDef, ml_doc);
    put("method", sizeof(PyMethodDef));
    put("METH_NOARGS", METH_NOARGS);
}

static PyObject *table(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    numbers = PyDict_New();
    if (numbers == NULL)
        return NULL;
    put("MINOR", MINOR);
    objects();
    types();
    strings();
    frames_and_threads();
    functions();
#if MINOR == 11
    PyObject compiled = _PyObject_IMMORTAL_INIT(NULL);
    put("STATIC_3_11", compiled.ob_refcnt);
#endif
    if (containers() < 0 || modules(module) < 0)
        Py_CLEAR(numbers);
    return numbers;
}

static PyObject *immortal(PyObject *Py_UNUSED(module), PyObject *number)
{
    unsigned long long word = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred())
        return NULL;
#if MINOR >= 12
    Made made;
    memset(&made, 0, sizeof made);
    made.words[0] = word;
    return PyBool_FromLong(_Py_IsImmortal(&made.object));
#else
    (void)word;
    Py_RETURN_NONE;
#endif
}

static PyMethodDef methods[] = {{"table", table, METH_NOARGS, "All numbers."},
                                {"immortal", immortal, METH_O, "Whether such a count means immortal."},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "layouts", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_layouts(void)
{
    return PyModule_Create(&definition);
}
