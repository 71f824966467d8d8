/* tsm_docs.h - the docstrings of the core's functions (tsm_docs.c). */
#ifndef TSM_DOCS_H
#define TSM_DOCS_H

extern const char tsm_doc_send[];
extern const char tsm_doc_receive[];
extern const char tsm_doc_sleep[];
extern const char tsm_doc_exit[];
extern const char tsm_doc_kill[];
extern const char tsm_doc_link[];
extern const char tsm_doc_unlink[];
extern const char tsm_doc_monitor[];
extern const char tsm_doc_demonitor[];
extern const char tsm_doc_alias[];
extern const char tsm_doc_unalias[];
extern const char tsm_doc_make_ref[];
extern const char tsm_doc_current_pid[];
extern const char tsm_doc_trap_exit[];
extern const char tsm_doc_reductions[];
extern const char tsm_doc_set_label[];
extern const char tsm_doc_register[];
extern const char tsm_doc_unregister[];
extern const char tsm_doc_whereis[];
extern const char tsm_doc_registered[];
extern const char tsm_doc_send_after[];
extern const char tsm_doc_cancel_timer[];
extern const char tsm_doc_read_timer[];
extern const char tsm_doc_spawn_link[];
extern const char tsm_doc_spawn_monitor[];
extern const char tsm_doc_is_alive[];
extern const char tsm_doc_processes[];
extern const char tsm_doc_process_info[];
extern const char tsm_doc_node_info[];
extern const char tsm_doc_Pid_type[];
extern const char tsm_doc_Ref_type[];
extern const char tsm_doc_Timer_type[];
extern const char tsm_doc_Exit_type[];
extern const char tsm_doc_Down_type[];
extern const char tsm_doc_Call_type[];

#endif
