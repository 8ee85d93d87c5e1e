/* What `bindery d1 execute` and `bindery d1 shell` share. */
#ifndef BND_TOOLS_D1_H
#define BND_TOOLS_D1_H

#include "base/bytes.h"
#include "tools/remote.h"
#include "tools/table.h"

struct tools_d1 {
    struct tools_remote remote;
};

/* Runs statements on the database that the first word names, as one transaction; parameter: of the
 * only one, may be NULL. Returns an array of results (owned), or NULL after telling on stderr why
 * not. */
json_t *tools_d1_run(const struct tools_d1 *d1, struct bnd_slice sql, const char *parameter);

/* Their rows on stdout and, if figures are wanted, on stderr what each has cost. */
void tools_d1_print(const json_t *results, enum tools_table_mode mode, bool figures);

/* Statements and dot commands from stdin until its end or `.quit`; the exit status. */
int tools_d1_shell(const struct tools_d1 *d1);

#endif
