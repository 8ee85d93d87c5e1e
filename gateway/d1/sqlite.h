/* What SQLite takes for a database (https://www.sqlite.org/fileformat2.html#the_database_header).
 * Internal to gateway/. Pure. */
#ifndef BND_GATEWAY_D1_SQLITE_H
#define BND_GATEWAY_D1_SQLITE_H

#include "base/bytes.h"

/* The file of `bytes` that begins with `first` (whole pages) is one of ours: pages of 4 KiB, as
 * many as its header says, and the header is of its last writer; not in WAL mode, in which SQLite
 * would look for what was never there. */
bool d1_sqlite_header_sound(struct bnd_slice first, uint64_t bytes);

#endif
