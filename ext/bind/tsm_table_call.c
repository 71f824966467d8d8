/* tsm_table_call.c - how the methods of a table that loops call are called.
 *
 * What it is      CPython calls a built-in method through a function that looks for keywords,
 *                 asks what self is and counts the recursion: 45 instructions, where all of
 *                 an update_counter has 140. That function stands in a field of the method,
 *                 and here ours does: for a direct instance of transom.Table it goes on at
 *                 once, in all other cases (a subclass, keywords, too few arguments) as
 *                 CPython would have.
 *                 Where the interpreter specialises calls (3.14), it does without either.
 * Who touches what
 *   usual         written while the module is set up; read by all
 * Where tested    tests/semantics/test_table_calls.py
 */
#include "bind/tsm_compat_class.h"
#include "bind/tsm_table.h"

static struct {
    vectorcallfunc one, many; /* of methods with one argument; with any number */
} usual;

static inline bool
is_plain(PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    return TSM_LIKELY(kwnames == NULL && n > 0 && Py_IS_TYPE(args[0], tsm_tables.type));
}

static inline PyObject*
call_one(PyObject* method, PyObject* const* args, size_t nargsf, PyObject* kwnames, PyCFunction fn)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    return is_plain(args, n, kwnames) && n == 2 ? fn(args[0], args[1]) : usual.one(method, args, nargsf, kwnames);
}

static inline PyObject*
call_many(PyObject* method, PyObject* const* args, size_t nargsf, PyObject* kwnames, PyCFunctionFast fn)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    return is_plain(args, n, kwnames) ? fn(args[0], args + 1, n - 1) : usual.many(method, args, nargsf, kwnames);
}

#define CALL(how, name)                                                                                \
    static PyObject* call_##name(PyObject* method, PyObject* const* args, size_t nargsf, PyObject* kwnames) \
    {                                                                                                  \
        return call_##how(method, args, nargsf, kwnames, tsm_table_##name);                            \
    }

CALL(one, lookup)
CALL(one, member)
CALL(one, insert)
CALL(many, lookup_element)
CALL(many, update_counter)

void
tsm_table_redirect(PyObject* method, const char* name)
{
    static const struct {
        const char* name;
        vectorcallfunc call, *usual;
    } calls[] = {
        {"lookup", call_lookup, &usual.one},
        {"member", call_member, &usual.one},
        {"insert", call_insert, &usual.one},
        {"lookup_element", call_lookup_element, &usual.many},
        {"update_counter", call_update_counter, &usual.many},
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(name, calls[i].name) == 0) {
            *calls[i].usual = tsm_method_redirect(method, calls[i].call);
        }
    }
}
