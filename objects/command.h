/* Commands, queries and replies of an object group (SPEC.md, "Objects"). Codecs only.
 *
 * A command is what Raft agrees on; a query is asked of the leader's state. Decoders accept any
 * bytes and give views that borrow from them. */
#ifndef BND_OBJECTS_COMMAND_H
#define BND_OBJECTS_COMMAND_H

#include "objects/manifest.h"

enum objects_command_kind {
    OBJECTS_PUT = 1,
    OBJECTS_DELETE = 2,
    OBJECTS_DELETE_MANY = 3,
    OBJECTS_CREATE = 4, /* an upload in parts */
    OBJECTS_PART = 5,
    OBJECTS_COMPLETE = 6,
    OBJECTS_ABORT = 7,
    OBJECTS_SEAL = 8,
    OBJECTS_UNSEAL = 9,
    OBJECTS_TICK = 10, /* moves the group's stamp and frees what is due */
};

enum { OBJECTS_TICK_FREES_MAX = 1000, OBJECTS_FREES_PER_COMMAND = 4 };

/* Conditions with the room their lists need once decoded. */
struct objects_conditions {
    struct bnd_object_conditions view;
    struct bnd_etag match[BND_OBJECT_ETAGS_MAX];
    struct bnd_etag not_match[BND_OBJECT_ETAGS_MAX];
};

struct objects_command {
    enum objects_command_kind kind;
    uint64_t bucket;                       /* all but TICK */
    struct bnd_slice key;                  /* PUT, DELETE, CREATE, PART, COMPLETE, ABORT */
    const uint8_t *upload_id;              /* CREATE, PART, COMPLETE, ABORT */
    struct objects_conditions *conditions; /* PUT, DELETE, COMPLETE: the caller's room */
    uint64_t deadline_ms;                  /* PUT, PART with a body: apply refuses it after */
    uint8_t have_count;                    /* likewise: nodes that have the body, durable */
    uint64_t have[BND_REPLICAS_MAX];
    struct bnd_slice manifest; /* PUT, COMPLETE (of which size, parts and fields are apply's) */
    struct bnd_multipart_part part;      /* PART */
    struct objects_upload_record create; /* CREATE */
    uint64_t part_min;                   /* COMPLETE */
    bool equal_sizes;                    /* COMPLETE */
    uint32_t count;                      /* COMPLETE: of parts; DELETE_MANY: of keys */
    struct bnd_slice items; /* COMPLETE: count x {u32 number, md5}; DELETE_MANY: keys */
    uint64_t attempt;       /* SEAL, UNSEAL */
};

void objects_command_encode(struct bnd_buf *out, const struct objects_command *command);
/* room: where decoded conditions are kept; borrowed by *out. BND_INVALID. */
int objects_command_decode(struct bnd_slice bytes, struct objects_conditions *room,
                           struct objects_command *out);

/* One item of COMPLETE, of OBJECTS_PART_REF_BYTES. */
#define OBJECTS_PART_REF_BYTES 20
void objects_part_ref_encode(struct bnd_buf *out, const struct bnd_multipart_part_ref *ref);
struct bnd_multipart_part_ref objects_part_ref_read(struct bnd_reader *r);

enum objects_query_kind {
    OBJECTS_HEAD = 1,
    OBJECTS_LIST = 2,
    OBJECTS_PARTS = 3,
    OBJECTS_UPLOADS = 4,
};

struct objects_query {
    enum objects_query_kind kind;
    uint64_t bucket;
    struct bnd_slice key;     /* HEAD, PARTS */
    const uint8_t *upload_id; /* PARTS; UPLOADS: NULL or the id to go on after */
    uint32_t after_part;      /* PARTS */
    uint32_t limit;           /* LIST, PARTS, UPLOADS */
    unsigned include;         /* LIST */
    struct bnd_slice prefix;  /* LIST, UPLOADS, as the next three */
    struct bnd_slice delimiter;
    struct bnd_slice after;
    bool after_prefix;
};

void objects_query_encode(struct bnd_buf *out, const struct objects_query *query);
int objects_query_decode(struct bnd_slice bytes, struct objects_query *out); /* BND_INVALID */

/* LIST and UPLOADS answer with: u8 truncated, then items up to the end. */
struct objects_item {
    bool is_prefix;
    struct bnd_slice key;
    struct bnd_slice value; /* LIST: manifest; UPLOADS: upload id and record; empty for a prefix */
};
void objects_item_encode(struct bnd_buf *out, const struct objects_item *item);
/* False at the end, or when broken (r->failed). */
bool objects_item_next(struct bnd_reader *r, struct objects_item *out);

#endif
