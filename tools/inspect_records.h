/* One record of the state as a line of text. */
#ifndef BND_TOOLS_INSPECT_RECORDS_H
#define BND_TOOLS_INSPECT_RECORDS_H

#include "engine/state.h"

struct tools_record {
    enum bnd_state_cf cf;
    struct bnd_slice key; /* without its slot: a tag and the rest */
    struct bnd_slice value;
};

/* What records of a tag are called ("objects"), or NULL: no such tag is known. */
const char *tools_record_kind(enum bnd_state_cf cf, uint8_t tag);

/* Appends the record's text: its key and value by their decoders; secrets and their hashes are left
 * out. BND_CORRUPT if it is none (nothing is appended). */
int tools_record_text(const struct tools_record *record, struct bnd_buf *out);

/* Appends text as it is, but %XX for what is not printable ASCII, and for the percent sign. */
void tools_record_escape(struct bnd_buf *out, struct bnd_slice text);

/* Appends lowercase hex digits. */
void tools_record_hex(struct bnd_buf *out, struct bnd_slice bytes);

/* Appends "2026-11-30T12:00:00.000Z (1796040000000 ms)". */
void tools_record_time(struct bnd_buf *out, uint64_t ms);

#endif
