/* What `bindery inspect state` tells, by the decoders of the host and the services. */
#ifndef BND_TOOLS_INSPECT_STATE_H
#define BND_TOOLS_INSPECT_STATE_H

#include "engine/state.h"

struct tools_state_look {
    struct bnd_state *state; /* read only */
    bool records;            /* every record, not only how many there are */
    bool json;               /* each line is a JSON object */
    const char *object;      /* "BUCKET/KEY": only what is stored of this; NULL: all */
    void (*print)(void *data, const char *line);
    void *data;
};

/* Prints slot by slot: how far its group is applied and with which members, how many records of
 * which kind it has. What is damaged is said, and the rest goes on: BND_CORRUPT at the end then.
 * BND_NOTFOUND: no such bucket or object; BND_INVALID: object is not BUCKET/KEY. */
int tools_inspect_state(const struct tools_state_look *look, struct bnd_error *err);

#endif
