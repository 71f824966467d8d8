/* tsm_module.c - the module transom._core: puts the functions of bind/ together. */
#include "bind/tsm_start.h"
#include "bind/tsm_table_dir.h"

static int
module_exec(PyObject* module)
{
    PyMethodDef* tables[] = {tsm_ops_methods, tsm_names_methods, tsm_spawn_methods, tsm_info_methods,
                             tsm_nodeinfo_methods, tsm_reds_methods, tsm_node_methods, tsm_start_methods,
                             tsm_server_methods, tsm_anycall_methods,
                             tsm_reclaim_methods, tsm_copy_methods, tsm_data_methods,
                             tsm_replay_methods};
    if (tsm_types_init(module) < 0 || tsm_node_init() < 0 || tsm_receive_init() < 0
        || tsm_reclaim_init() < 0 || tsm_table_init(module) < 0 || tsm_counters_init(module) < 0
        || tsm_dir_init(module) < 0 || tsm_callbacks_init(module) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (PyModule_AddFunctions(module, tables[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "transom._core",
    .m_doc = "The native core of transom. Private: import from transom.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
