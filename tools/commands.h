/* What the table of command.c is made of: the run functions (tools/command.h says what they are
 * given and return), and the verbs and flags of commands that have many. */
#ifndef BND_TOOLS_COMMANDS_H
#define BND_TOOLS_COMMANDS_H

#include "tools/command.h"

int tools_cmd_start(int argc, const char **argv);
int tools_cmd_gateway(int argc, const char **argv);
int tools_cmd_config(int argc, const char **argv);
int tools_cmd_status(int argc, const char **argv);
int tools_cmd_node(int argc, const char **argv);
int tools_cmd_shard(int argc, const char **argv);
int tools_cmd_r2(int argc, const char **argv);
int tools_cmd_kv(int argc, const char **argv);
int tools_cmd_d1(int argc, const char **argv);
int tools_cmd_token(int argc, const char **argv);
int tools_cmd_key(int argc, const char **argv);
int tools_cmd_ca(int argc, const char **argv);
int tools_cmd_clock(int argc, const char **argv);
int tools_cmd_top(int argc, const char **argv);
int tools_cmd_doctor(int argc, const char **argv);
int tools_cmd_recover(int argc, const char **argv);
int tools_cmd_inspect(int argc, const char **argv);
int tools_cmd_workerd_config(int argc, const char **argv);
int tools_cmd_completion(int argc, const char **argv);
int tools_cmd_man(int argc, const char **argv);
int tools_cmd_version(int argc, const char **argv);

extern const struct tools_flag tools_top_flags[];
extern const struct tools_verb tools_node_verbs[];
extern const struct tools_flag tools_node_flags[];
extern const struct tools_flag tools_doctor_flags[];
extern const struct tools_flag tools_recover_flags[];
extern const struct tools_verb tools_r2_verbs[];
extern const struct tools_flag tools_r2_flags[];
extern const struct tools_verb tools_kv_verbs[];
extern const struct tools_flag tools_kv_flags[];
extern const struct tools_verb tools_d1_verbs[];
extern const struct tools_flag tools_d1_flags[];
extern const struct tools_verb tools_token_verbs[];
extern const struct tools_flag tools_token_flags[];
extern const struct tools_verb tools_key_verbs[];
extern const struct tools_flag tools_key_flags[];
extern const struct tools_verb tools_ca_verbs[];
extern const struct tools_flag tools_ca_flags[];
extern const struct tools_verb tools_inspect_verbs[];
extern const struct tools_flag tools_inspect_flags[];
extern const struct tools_flag tools_workerd_config_flags[];

#endif
