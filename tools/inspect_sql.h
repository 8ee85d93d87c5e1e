/* Records of the SQL groups as text (SPEC.md, "SQL state"). */
#ifndef BND_TOOLS_INSPECT_SQL_H
#define BND_TOOLS_INSPECT_SQL_H

#include "tools/inspect_records.h"

/* Appends the text of any of them; values without it. BND_CORRUPT: its check, or what it says, is
 * wrong. */
int tools_sql_text(const struct tools_record *record, struct bnd_buf *out);

#endif
