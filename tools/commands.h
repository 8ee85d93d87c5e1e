/* The run functions of the commands: tools/command.h says what they are given and return. */
#ifndef BND_TOOLS_COMMANDS_H
#define BND_TOOLS_COMMANDS_H

int tools_cmd_start(int argc, const char **argv);
int tools_cmd_gateway(int argc, const char **argv);
int tools_cmd_config(int argc, const char **argv);
int tools_cmd_status(int argc, const char **argv);
int tools_cmd_node(int argc, const char **argv);
int tools_cmd_shard(int argc, const char **argv);
int tools_cmd_token(int argc, const char **argv);
int tools_cmd_key(int argc, const char **argv);
int tools_cmd_clock(int argc, const char **argv);
int tools_cmd_top(int argc, const char **argv);
int tools_cmd_inspect(int argc, const char **argv);
int tools_cmd_workerd_config(int argc, const char **argv);
int tools_cmd_version(int argc, const char **argv);

#endif
