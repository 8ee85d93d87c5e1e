/* Objects (R2): the public interface (architecture 5 and 8, ADR 0050, ADR 0051).
 *
 * One `struct bnd_objects` per node or gateway process, on one loop. It turns operations on
 * (bucket, key) into commands and queries of the object groups, which decide everything in their
 * state machines, and moves large bodies to and from the body store of the replicas. On a node it
 * also holds that node's part of the body store and makes the state machines of its groups.
 *
 * What it promises
 *  1. Every operation on one key is linearizable: a write answered 0 is in every later head, read
 *     and list, wherever asked; conditions are decided where the write takes effect.
 *  2. A write answered 0 survives the loss of any minority of its group's voters, body included.
 *  3. A read gives the bytes of one version or an error: never a mixture, never unverified bytes.
 *  4. Outcomes are not guessed: an error of class RETRY, CALLER or FULL means not executed; class
 *     UNKNOWN means that it may have been.
 *  5. Memory is bounded: every open upload, reader and request counts against a limit of the
 *     configuration, and beyond it a call fails with BND_FULL before anything is sent.
 *
 * Rules for all calls: called on the loop of config.env; callbacks come on it, later, never from
 * inside the call, exactly once if the call returned 0 and not at all otherwise. The caller owns
 * request structs (zero them before first use) and leaves them alone until the callback, from which
 * on they may be used again or freed. Arguments (keys, slices, option structs) are copied by the
 * call unless said otherwise; what a callback is given is borrowed until it returns.
 *
 * Codes that any callback may bring, beside those named at each call:
 *  BND_UNAVAILABLE  no leader, or overload, for as long as the call may wait: not executed
 *  BND_UNKNOWN      a write whose outcome could not be learnt in time
 *  BND_FULL         a bound of a group or a node was met: not executed
 *  BND_NOSPACE      the disks of a majority are nearly full: not executed; deletes still are
 *  BND_CANCELED     bnd_objects_close: reads not executed (writes get BND_UNKNOWN)
 *  BND_NOMEM, BND_CORRUPT (a reply or stored bytes that no good replica could replace) */
#ifndef BND_OBJECTS_OBJECTS_H
#define BND_OBJECTS_OBJECTS_H

#include "base/env.h"
#include "base/pacer.h"
#include "placement/rendezvous.h"
#include "placement/shard.h"
#include "raft/client.h"
#include "raft/fsm.h"

#define BND_OBJECT_KEY_MAX 1024u
#define BND_OBJECT_CUSTOM_MAX 8192u        /* bytes of names and values together */
#define BND_OBJECT_FIELD_MAX 2048u         /* one http field */
#define BND_OBJECT_INLINE_MAX (64u * 1024) /* larger bodies go to the body store */
#define BND_OBJECT_SIZE_MAX (UINT64_C(5) << 40)
#define BND_OBJECT_BODY_MAX (UINT64_C(5) << 30) /* one upload: a whole object or a part */
#define BND_OBJECT_PARTS_MAX 10000u
#define BND_OBJECT_PART_MIN (UINT64_C(5) << 20) /* all parts but the last, where asked for */
#define BND_OBJECT_LIST_MAX 1000u
#define BND_OBJECT_DELETE_MAX 1000u /* keys in one bnd_object_delete_many */
#define BND_OBJECT_ETAGS_MAX 32u    /* in one list of a condition */
#define BND_OBJECT_ID_BYTES 16u     /* version ids and upload ids */
#define BND_OBJECT_ID_TEXT (2 * BND_OBJECT_ID_BYTES + 1)
#define BND_OBJECT_ETAG_TEXT (32 + 6 + 1)  /* "<md5 hex>" or "<md5 hex>-10000", with its end */
#define BND_OBJECT_CHUNK_MAX (256u * 1024) /* a reader's chunks */
#define BND_OBJECT_CURSOR_MAX (1u + BND_OBJECT_KEY_MAX)
#define BND_OBJECT_SIZE_UNKNOWN UINT64_MAX
#define BND_OBJECT_NO_TIME UINT64_MAX /* an absent time */

struct bnd_objects;

/* ---- one per process --------------------------------------------------------------------------
 */

/* The nodes that hold a shard, voters first. */
struct bnd_object_replicas {
    uint64_t nodes[BND_REPLICAS_MAX];
    size_t count;
    size_t voters;
};

struct bnd_objects_config {
    struct bnd_env *env; /* all borrowed until closed */
    struct bnd_rpc *rpc;
    struct bnd_mesh *mesh;
    uint32_t shards;        /* of the cluster: a power of two */
    uint64_t self;          /* node id; a gateway's own id */
    const char *bodies_dir; /* copied; made if it is not there. NULL: this process stores nothing */
    void *owner;
    /* Fills *out for the object group of a shard, by the newest shard map. BND_UNAVAILABLE: not
     * known yet. Called from inside any call below. */
    int (*replicas)(void *owner, uint32_t shard, struct bnd_object_replicas *out);
    /* The newest stamp this process has seen in any group (bnd_raft_stamp_ms), 0: none. NULL in a
     * gateway: it learns stamps from the replicas it streams bodies to. */
    uint64_t (*stamp_ms)(void *owner);
    /* True while the group's deletion by time is suspended (bnd_raft_time_suspended): none of its
     * files is freed then. NULL: never. */
    bool (*time_suspended)(void *owner, uint64_t gid);
    /* True while this node's disk is nearly full: it takes no more bodies. NULL: never. */
    bool (*disk_full)(void *owner);
    struct bnd_pacer *pacer;  /* borrowed: how fast bodies are fetched; NULL: no bound */
    uint64_t timeout_ns;      /* 0: 15 s: how long an operation waits for a leader and an answer */
    size_t uploads_max;       /* 0: 1,024 open uploads in this process */
    size_t readers_max;       /* 0: 4,096 open readers in this process */
    size_t reader_bytes_max;  /* 0: 256 MiB of chunks in open readers; beyond it BND_FULL */
    size_t requests_max;      /* 0: 65,536 other requests */
    size_t upload_window;     /* 0: 1 MiB: bytes of one upload taken and not yet on its replicas */
    size_t upload_bytes_max;  /* 0: 64 MiB: of all uploads, likewise; beyond it BND_FULL */
    size_t store_uploads_max; /* 0: 1,024 bodies being written to this node's store */
    size_t store_bytes_max;   /* 0: 64 MiB waiting to be written to, or read for, others here */
    uint64_t sweep_ns;        /* 0: 10 s between steps of the sweep that frees and repairs bodies */
};

/* Blocking (start-up): opens the bodies directory and removes what unfinished uploads left there.
 * Serves BND_RPC_BODY from now on. On success *out is owned by the caller. BND_INVALID, BND_NOMEM,
 * BND_IO, BND_VERSION (the directory is of a newer format). */
int bnd_objects_create(const struct bnd_objects_config *config, struct bnd_objects **out,
                       struct bnd_error *err);
/* Gives it the shard client (which needs the Raft host, which needs the state machines made by
 * bnd_objects_fsm_make). Once, before any operation; the client is borrowed until closed. */
void bnd_objects_start(struct bnd_objects *objects, struct bnd_shard_client *client);
/* Answers every request under way from inside (reads and uploads with BND_CANCELED, commits and
 * other writes with BND_UNKNOWN), ends uploads and readers (their handles are gone: destroy none
 * afterwards), lets the pool finish its work on bodies, frees, and then calls closed (NULL
 * allowed), later, last. Before the rpc, the shard client and the env go, and after the Raft host
 * has closed its state machines. */
void bnd_objects_close(struct bnd_objects *objects, void (*closed)(void *data), void *data);

/* The state machine of an object group: for bnd_raft_host_config.fsm_make. BND_INVALID if gid is
 * not of BND_GROUP_OBJECTS; BND_NOMEM. */
int bnd_objects_fsm_make(struct bnd_objects *objects, uint64_t gid, struct bnd_fsm *out,
                         struct bnd_error *err);

struct bnd_objects_stats {
    uint64_t uploads_open, readers_open, requests_open;            /* now */
    uint64_t puts_inline, puts_body, heads, reads, deletes, lists; /* answered 0 since start */
    uint64_t bytes_in, bytes_out; /* of bodies, inline ones included */
    uint64_t uploads_degraded;    /* committed although a replica missed the body */
    uint64_t replica_switches;    /* readers that went on from another replica */
    /* this node's body store */
    uint64_t bodies_written, bodies_read_blocks, bodies_corrupt, bodies_fetched, bodies_freed;
    uint64_t bodies_fetched_bytes;
    uint64_t bodies_missing;  /* found missing by the last full sweep and not fetched yet */
    uint64_t bodies_bytes;    /* live and here, by the last full sweep */
    uint64_t store_bytes_now; /* waiting to be written or read */
};
void bnd_objects_stats(const struct bnd_objects *objects, struct bnd_objects_stats *out);

/* True if the node (self allowed) has said in the last 10 s that it holds every live body of the
 * object group, each verified block by block. Else it is asked, and looks, and fetches what it
 * lacks: to be called again while it matters. A node that has not the group does not hold it. */
bool bnd_objects_hold_all(struct bnd_objects *objects, uint64_t gid, uint64_t node);

/* ---- names ------------------------------------------------------------------------------------
 */

/* A bucket, as group 0 knows it. */
struct bnd_bucket_ref {
    uint64_t id;      /* never reused */
    uint8_t segments; /* keys are placed by their first n path segments; 0: by the whole key */
};

/* An object of a bucket. key: 1..BND_OBJECT_KEY_MAX bytes of any value. */
struct bnd_object_name {
    struct bnd_bucket_ref bucket;
    struct bnd_slice key;
};

/* 32 lowercase hex digits and a 0. */
void bnd_object_id_text(const uint8_t id[BND_OBJECT_ID_BYTES], char out[BND_OBJECT_ID_TEXT]);
/* BND_INVALID unless text is 32 hex digits. */
int bnd_object_id_parse(struct bnd_slice text, uint8_t out[BND_OBJECT_ID_BYTES]);

/* ---- what is known of an object ---------------------------------------------------------------
 */

enum bnd_checksum {
    BND_CHECKSUM_MD5, /* the order is R2's, and that of the manifest's bits */
    BND_CHECKSUM_SHA1,
    BND_CHECKSUM_SHA256,
    BND_CHECKSUM_SHA384,
    BND_CHECKSUM_SHA512,
    BND_CHECKSUM_CRC32, /* big-endian bytes, as S3 sends them in base64 */
    BND_CHECKSUM_CRC32C,
    BND_CHECKSUM_CRC64NVME,
    BND_CHECKSUM_COUNT,
};
#define BND_CHECKSUM_BYTES_MAX 64

/* Bytes of a checksum's value: 16, 20, 32, 48, 64, 4, 4, 8. */
size_t bnd_checksum_bytes(enum bnd_checksum kind);

struct bnd_object_checksums {
    uint8_t present;   /* bit 1 << kind */
    uint8_t composite; /* bit set: a checksum of the parts' checksums; else of the whole body */
    uint8_t value[BND_CHECKSUM_COUNT][BND_CHECKSUM_BYTES_MAX];
};

/* What an uploader says about an object. A slice with data NULL is absent. In a decoded view the
 * slices borrow from the object's buffer. Each field has at most BND_OBJECT_FIELD_MAX bytes. */
struct bnd_object_fields {
    struct bnd_slice content_type;
    struct bnd_slice content_language;
    struct bnd_slice content_disposition;
    struct bnd_slice content_encoding;
    struct bnd_slice cache_control;
    uint64_t cache_expiry_ms; /* since 1970; BND_OBJECT_NO_TIME: absent */
    /* Name and value pairs, 8-bit clean, packed by bnd_object_custom_add in the order given; at
     * most BND_OBJECT_CUSTOM_MAX bytes of names and values. */
    struct bnd_slice custom;
    struct bnd_slice storage_class; /* absent: "STANDARD"; kept as given */
};

/* No field at all: cache_expiry_ms is BND_OBJECT_NO_TIME. */
struct bnd_object_fields bnd_object_fields_none(void);
/* Appends a pair to a packed list of custom metadata (check buf->failed at the end). */
void bnd_object_custom_add(struct bnd_buf *custom, struct bnd_slice name, struct bnd_slice value);
/* Takes the next pair from a reader over a packed list. False at the end or when the list is
 * broken (bnd_reader_done tells which). */
bool bnd_object_custom_next(struct bnd_reader *custom, struct bnd_slice *out_name,
                            struct bnd_slice *out_value);

/* How the body is kept. */
enum bnd_object_profile {
    BND_PROFILE_INLINE = 0, /* in the manifest */
    BND_PROFILE_COPIES = 1, /* one body, whole on each replica */
    BND_PROFILE_PARTS = 2,  /* several such bodies, one after the other */
};

/* A decoded manifest: a view, which borrows from the buffer it was decoded from. */
struct bnd_object_meta {
    uint8_t version[BND_OBJECT_ID_BYTES]; /* unique per upload */
    uint64_t size;
    uint8_t etag_md5[16];
    uint32_t parts;       /* 0: uploaded in one; else the number of parts */
    uint64_t uploaded_ms; /* stamp of the entry that made it */
    enum bnd_object_profile profile;
    struct bnd_object_checksums checksums;
    struct bnd_object_fields fields;
};

/* "<md5>" or "<md5>-<parts>", lowercase, no quotes. */
void bnd_object_etag_text(const struct bnd_object_meta *meta, char out[BND_OBJECT_ETAG_TEXT]);

/* An object as a head gives it: meta over its own bytes. Zero-initialised is empty. */
struct bnd_object {
    struct bnd_buf bytes; /* private: what the view borrows from */
    struct bnd_object_meta meta;
    struct bnd_slice body;  /* of an INLINE object, whole; data not NULL even if empty */
    struct bnd_slice parts; /* private: of a PARTS object */
    uint64_t gid;           /* private: the group whose replicas hold the body */
};

/* *to (empty or freed before) takes what *from holds; *from becomes empty. */
void bnd_object_move(struct bnd_object *to, struct bnd_object *from);
void bnd_object_free(struct bnd_object *object); /* frees and zeroes */

/* The byte range of part `number` (1..parts) of an object uploaded in parts. BND_RANGE: no such
 * part. BND_INVALID: not uploaded in parts (then part 1 is the whole, for the caller to decide). */
int bnd_object_part_range(const struct bnd_object *object, uint32_t number, uint64_t *out_offset,
                          uint64_t *out_length);

/* ---- conditions -------------------------------------------------------------------------------
 */

enum bnd_etag_kind { BND_ETAG_STRONG, BND_ETAG_WEAK, BND_ETAG_WILDCARD };

struct bnd_etag {
    enum bnd_etag_kind kind;
    struct bnd_slice value; /* text without quotes and W/; ignored for a wildcard */
};

/* For S3's If-* headers and R2's onlyIf alike. Zero-initialised it would hold uploaded times of 0:
 * start from bnd_object_conditions_none(). */
struct bnd_object_conditions {
    const struct bnd_etag *match; /* borrowed; at most BND_OBJECT_ETAGS_MAX */
    size_t match_count;
    bool match_given; /* an empty list that was given matches nothing */
    const struct bnd_etag *not_match;
    size_t not_match_count;
    bool not_match_given;
    uint64_t uploaded_before_ms; /* passes if uploaded < before; BND_OBJECT_NO_TIME: not asked */
    uint64_t uploaded_after_ms;  /* passes if after < uploaded; BND_OBJECT_NO_TIME: not asked */
    bool seconds;                /* compare both times cut to whole seconds */
};

enum bnd_condition_result {
    BND_CONDITION_OK,
    BND_CONDITION_FAILED,       /* 412 */
    BND_CONDITION_NOT_MODIFIED, /* on a read 304, on a write 412: only not_match or uploaded_after
                                   failed */
};

struct bnd_object_conditions bnd_object_conditions_none(void);
/* Whether anything is asked: without, every check passes. */
bool bnd_object_conditions_given(const struct bnd_object_conditions *conditions);

/* Pure. meta NULL: there is no such object; then conditions fail that ask for a match or for
 * uploaded_after, and all others pass. Else (reference/workers-protocol.md 1.4, RFC 9110 13.2.2):
 * match compares strongly (a weak etag never matches), not_match weakly, a wildcard matches any
 * object; uploaded_after also passes if not_match was given and passed, uploaded_before if match
 * was given and passed. An HTTP If-Unmodified-Since, which includes its own second, is
 * uploaded_before_ms = that time + 1000 with `seconds`. */
enum bnd_condition_result
bnd_object_conditions_check(const struct bnd_object_conditions *conditions,
                            const struct bnd_object_meta *meta);

/* ---- writing an object, or a part of one ------------------------------------------------------
 */

struct bnd_upload;

struct bnd_upload_options {
    struct bnd_object_name name;
    uint64_t size; /* BND_OBJECT_SIZE_UNKNOWN, or exactly what will be written */
    /* A part of a multipart upload: its id and a number in 1..BND_OBJECT_PARTS_MAX. NULL: an
     * object. */
    const uint8_t *upload_id;
    uint32_t part;
};

typedef void (*bnd_upload_write_cb)(struct bnd_upload *upload, void *data, int status);

/* Starts an upload; nothing is sent before the body exceeds BND_OBJECT_INLINE_MAX. *out lives until
 * bnd_upload_destroy. BND_INVALID: key length, part number; BND_TOOBIG: size above
 * BND_OBJECT_BODY_MAX; BND_FULL; BND_NOMEM. */
int bnd_upload_begin(struct bnd_objects *objects, const struct bnd_upload_options *options,
                     struct bnd_upload **out, struct bnd_error *err);

/* Appends bytes (copied by the call, at most BND_OBJECT_CHUNK_MAX: else BND_TOOBIG). cb comes when
 * the next write may be made; at most one is under way. status: 0, or why the upload has failed
 * for good (BND_UNAVAILABLE: too few replicas can take it; BND_FULL; BND_NOSPACE; BND_TOOBIG: more
 * than the size given or BND_OBJECT_BODY_MAX); the next step is then bnd_upload_destroy. */
int bnd_upload_write(struct bnd_upload *upload, struct bnd_slice data, bnd_upload_write_cb cb,
                     void *data_cb);

struct bnd_upload_commit {
    struct bnd_object_fields fields;         /* ignored for a part */
    struct bnd_object_conditions conditions; /* ignored for a part */
    uint8_t etag_md5[16]; /* of the whole body, computed by the caller (also for a part) */
    struct bnd_object_checksums checksums; /* that the caller has verified, or computed */
};

/* status 0: it is durable and visible; *object is its meta, without the body (move it to keep it;
 * for a part only version, size, etag_md5, uploaded_ms and checksums are set). Else object is NULL
 * and, but for class UNKNOWN, nothing was stored:
 *  BND_PRECONDITION  conditions not met
 *  BND_LOCKED        the bucket is sealed: being deleted, or deleted (ask group 0 which)
 *  BND_NOTFOUND      a part of an upload that is not there (completed, aborted, never begun)
 *  BND_INVALID       fields above their bounds, or fewer bytes than the size given
 *  BND_UNAVAILABLE   also: the commit came after the body's deadline */
typedef void (*bnd_upload_commit_cb)(struct bnd_upload *upload, void *data, int status,
                                     struct bnd_object *object);

/* Ends the body and commits it: one Raft round for an inline body; for a larger one first durable
 * on a majority of the voters. No write may be under way. Once per upload. */
int bnd_upload_commit(struct bnd_upload *upload, const struct bnd_upload_commit *commit,
                      bnd_upload_commit_cb cb, void *data);

/* Frees the handle; what was not committed is dropped. Allowed at any time, also from the
 * callbacks; a commit under way may still be executed, its callback does not come. NULL allowed. */
void bnd_upload_destroy(struct bnd_upload *upload);

/* ---- reading ----------------------------------------------------------------------------------
 */

struct bnd_object_head {
    /* status 0: *object, to move or leave. BND_NOTFOUND: no such object (object NULL). */
    void (*cb)(struct bnd_object_head *head, int status, struct bnd_object *object);
    void *data;
    void *op; /* private */
};

/* Linearizable. The object comes with its inline body, or what is needed to read the body. */
int bnd_object_head(struct bnd_objects *objects, struct bnd_object_head *head,
                    const struct bnd_object_name *name);

struct bnd_object_reader;

/* Reads bytes [offset, offset + length) of the very version that a head gave, whatever has become
 * of the key since: a replaced version can be read for 10 minutes more. *object is moved into the
 * reader. Nothing is asked for before the first next. BND_RANGE: beyond the end; BND_FULL;
 * BND_NOMEM (object untouched). */
int bnd_object_reader_open(struct bnd_objects *objects, struct bnd_object *object, uint64_t offset,
                           uint64_t length, struct bnd_object_reader **out);

/* status 0: the next 1..BND_OBJECT_CHUNK_MAX verified bytes, borrowed until the next call on this
 * reader; length 0: the end. BND_UNAVAILABLE: no replica that has the body answers (each has been
 * tried); BND_NOTFOUND: the version was freed meanwhile; BND_CORRUPT: every copy is damaged here.
 */
typedef void (*bnd_object_reader_cb)(struct bnd_object_reader *reader, void *data, int status,
                                     struct bnd_slice chunk);

/* Asks for the next chunk; one call at a time. One chunk is fetched ahead. */
int bnd_object_reader_next(struct bnd_object_reader *reader, bnd_object_reader_cb cb, void *data);
/* At any time, also from the callback. NULL allowed. */
void bnd_object_reader_destroy(struct bnd_object_reader *reader);
/* The object being read, until destroy. */
const struct bnd_object *bnd_object_reader_object(const struct bnd_object_reader *reader);

/* ---- deleting ---------------------------------------------------------------------------------
 */

struct bnd_object_delete {
    /* status 0: it is gone (existed says whether it was there). BND_PRECONDITION. */
    void (*cb)(struct bnd_object_delete *del, int status, bool existed);
    void *data;
    void *op; /* private */
};

/* conditions may be NULL: then the deletes of a group and bucket go together, one command under way
 * at a time, so that a burst of them takes one place among its writes. */
int bnd_object_delete(struct bnd_objects *objects, struct bnd_object_delete *del,
                      const struct bnd_object_name *name,
                      const struct bnd_object_conditions *conditions);

struct bnd_object_delete_many {
    /* results: one per key, in the order given: 0 or the code of its group's command, as above.
     * Keys of one group share one command, and so one outcome. */
    void (*cb)(struct bnd_object_delete_many *del, const int *results, size_t count);
    void *data;
    void *op; /* private */
};

/* 1..BND_OBJECT_DELETE_MAX keys, unconditionally: one command per group. */
int bnd_object_delete_many(struct bnd_objects *objects, struct bnd_object_delete_many *del,
                           struct bnd_bucket_ref bucket, const struct bnd_slice *keys,
                           size_t count);

/* ---- listing ----------------------------------------------------------------------------------
 */

enum bnd_list_include {
    BND_LIST_HTTP = 1,  /* http fields, storage class is always there */
    BND_LIST_CUSTOM = 2 /* custom metadata */
};

struct bnd_list_options {
    struct bnd_bucket_ref bucket;
    struct bnd_slice prefix;    /* may be empty; at most BND_OBJECT_KEY_MAX */
    struct bnd_slice delimiter; /* may be empty; at most BND_OBJECT_KEY_MAX. Keys that hold it after
                                   the prefix are given as one common prefix, up to and including
                                   it */
    struct bnd_slice after;     /* only keys after this one; may be empty */
    bool after_prefix;          /* `after` is a common prefix: skip every key that begins with it */
    struct bnd_slice cursor;    /* of an earlier page; if not empty, in place of `after` */
    uint32_t limit;             /* 1..BND_OBJECT_LIST_MAX objects and prefixes together */
    unsigned include;           /* enum bnd_list_include */
};

struct bnd_list_item {
    struct bnd_slice key; /* or the common prefix */
    bool is_prefix;
    struct bnd_slice manifest; /* private; empty for a prefix */
};

struct bnd_list_page {
    const struct bnd_list_item *items; /* in byte order, no key twice */
    size_t count;                      /* may be less than the limit although truncated */
    bool truncated;
    struct bnd_slice cursor; /* 1..BND_OBJECT_CURSOR_MAX bytes of any value if truncated: opaque */
};

/* The metadata of an object listed; a view over the page. BND_CORRUPT. */
int bnd_list_item_meta(const struct bnd_list_item *item, struct bnd_object_meta *out);

struct bnd_object_list {
    /* page NULL unless status is 0. BND_UNAVAILABLE if any shard did not answer: a page is never
     * silently partial. */
    void (*cb)(struct bnd_object_list *list, int status, const struct bnd_list_page *page);
    void *data;
    void *op; /* private */
};

/* Holds every write acknowledged before it began, wherever; it is no snapshot across keys. Asks
 * every shard, or one if the prefix holds the bucket's number of segments. BND_INVALID: limit, a
 * cursor that is none, lengths. */
int bnd_object_list(struct bnd_objects *objects, struct bnd_object_list *list,
                    const struct bnd_list_options *options);

/* ---- uploads in parts -------------------------------------------------------------------------
 */

/* Upload ids are minted by create: 128 bits, unique; text form as for versions. An id belongs to
 * the bucket and key it was made for; with any other it is not found. */

struct bnd_multipart_create {
    /* status 0: upload_id. BND_LOCKED; BND_INVALID. */
    void (*cb)(struct bnd_multipart_create *create, int status,
               const uint8_t upload_id[BND_OBJECT_ID_BYTES]);
    void *data;
    void *op; /* private */
};

struct bnd_multipart_create_options {
    struct bnd_object_name name;
    struct bnd_object_fields fields;
    uint8_t checksum; /* 1 << enum bnd_checksum that parts will carry, 0: none; kept for
                         bnd_multipart_parts, not enforced */
    bool composite;   /* kept likewise */
};

int bnd_multipart_create(struct bnd_objects *objects, struct bnd_multipart_create *create,
                         const struct bnd_multipart_create_options *options);

struct bnd_multipart_complete {
    /* status 0: *object is the meta of the new object, but for its fields (those given to create:
     * a head tells them), and cannot be read from. Else NULL, and but for class UNKNOWN the upload
     * is as before:
     *  BND_NOTFOUND      no such upload
     *  BND_INVALID       out_part: the first part that is not there or has another etag, or is out
     *                    of order; 0: the list is empty or too long
     *  BND_TOOBIG        above BND_OBJECT_SIZE_MAX
     *  BND_RANGE         out_part: a part, not the last, below part_min, or (equal_sizes) of
     *                    another size than the first
     *  BND_PRECONDITION  conditions not met
     *  BND_LOCKED */
    void (*cb)(struct bnd_multipart_complete *complete, int status, struct bnd_object *object,
               uint32_t out_part);
    void *data;
    void *op; /* private */
};

struct bnd_multipart_part_ref {
    uint32_t number; /* rising */
    uint8_t etag_md5[16];
};

struct bnd_multipart_complete_options {
    struct bnd_object_name name;
    const uint8_t *upload_id;
    const struct bnd_multipart_part_ref *parts;
    size_t count;      /* 1..BND_OBJECT_PARTS_MAX */
    uint64_t part_min; /* bytes every part but the last must have: BND_OBJECT_PART_MIN, or 0 */
    bool equal_sizes;  /* R2's rule: all parts but the last have the same size */
    struct bnd_object_conditions conditions;
    struct bnd_object_checksums checksums; /* of the whole, or composite: the caller computes it */
};

/* One Raft entry; no body is copied. Parts uploaded and not listed are freed. The object's etag is
 * the md5 of the parts' md5s. */
int bnd_multipart_complete(struct bnd_objects *objects, struct bnd_multipart_complete *complete,
                           const struct bnd_multipart_complete_options *options);

struct bnd_multipart_abort {
    /* status 0, or BND_NOTFOUND. */
    void (*cb)(struct bnd_multipart_abort *abort, int status);
    void *data;
    void *op; /* private */
};

int bnd_multipart_abort(struct bnd_objects *objects, struct bnd_multipart_abort *abort,
                        const struct bnd_object_name *name, const uint8_t *upload_id);

struct bnd_multipart_part {
    uint32_t number;
    uint64_t size;
    uint64_t uploaded_ms;
    uint8_t version[BND_OBJECT_ID_BYTES];
    uint8_t etag_md5[16];
    struct bnd_object_checksums checksums;
};

struct bnd_multipart_parts_page {
    const struct bnd_multipart_part *parts; /* by number */
    size_t count;
    bool truncated;
    uint64_t initiated_ms;
    uint8_t checksum; /* of create */
    bool composite;
    struct bnd_object_fields fields;
};

struct bnd_multipart_parts {
    /* BND_NOTFOUND: no such upload. */
    void (*cb)(struct bnd_multipart_parts *parts, int status,
               const struct bnd_multipart_parts_page *page);
    void *data;
    void *op; /* private */
};

struct bnd_multipart_parts_options {
    struct bnd_object_name name;
    const uint8_t *upload_id;
    uint32_t after; /* only parts with a higher number; 0: all */
    uint32_t limit; /* 1..BND_OBJECT_LIST_MAX */
};

int bnd_multipart_parts(struct bnd_objects *objects, struct bnd_multipart_parts *parts,
                        const struct bnd_multipart_parts_options *options);

struct bnd_multipart_upload {
    struct bnd_slice key; /* or a common prefix */
    bool is_prefix;
    uint8_t upload_id[BND_OBJECT_ID_BYTES];
    uint64_t initiated_ms;
    struct bnd_slice storage_class; /* data NULL: absent */
};

struct bnd_multipart_uploads_page {
    const struct bnd_multipart_upload *uploads; /* by key, then upload id */
    size_t count;
    bool truncated; /* then go on after the last upload or prefix given */
};

struct bnd_multipart_uploads_options {
    struct bnd_bucket_ref bucket;
    struct bnd_slice prefix;
    struct bnd_slice delimiter;
    struct bnd_slice after_key;  /* uploads of later keys, and, */
    const uint8_t *after_upload; /* if not NULL, those of this key with a later id */
    bool after_prefix;           /* after_key is a common prefix: skip all that begins with it */
    uint32_t limit;              /* 1..BND_OBJECT_LIST_MAX */
};

struct bnd_multipart_uploads {
    void (*cb)(struct bnd_multipart_uploads *uploads, int status,
               const struct bnd_multipart_uploads_page *page);
    void *data;
    void *op; /* private */
};

/* As bnd_object_list, over uploads begun and neither completed nor aborted. */
int bnd_multipart_uploads(struct bnd_objects *objects, struct bnd_multipart_uploads *uploads,
                          const struct bnd_multipart_uploads_options *options);

/* ---- sealing a bucket -------------------------------------------------------------------------
 */

struct bnd_bucket_seal {
    /* status 0: every shard is sealed (or unsealed) under this attempt; holds_anything: any object
     * or multipart upload was left in any shard. BND_EPOCH: a later attempt is under way or this
     * one was rolled back: not the caller's business any more. Other codes: some shards may be
     * sealed: call again, or unseal. */
    void (*cb)(struct bnd_bucket_seal *seal, int status, bool holds_anything);
    void *data;
    void *op; /* private */
};

/* First half of deleting a bucket: attempt (> 0, rising per bucket, from group 0) seals every
 * shard. A sealed shard refuses puts, multipart creation, parts and completion with BND_LOCKED,
 * decided in apply. Idempotent under the same attempt. */
int bnd_bucket_seal(struct bnd_objects *objects, struct bnd_bucket_seal *seal,
                    struct bnd_bucket_ref bucket, uint64_t attempt);
/* Rolls back attempt, and refuses it from now on. Idempotent. */
int bnd_bucket_unseal(struct bnd_objects *objects, struct bnd_bucket_seal *seal,
                      struct bnd_bucket_ref bucket, uint64_t attempt);

#endif
