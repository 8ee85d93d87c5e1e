/* See pack.h. */
#include "sql/pack.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/error.h"
#include "raft/host.h"

#define ZSTD_STATIC_LINKING_ONLY /* for a context's memory */
#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL (-1)
#define STAGE_HEAD_MAX 64u /* what a part has before its bytes */
#define KEPT_BYTES_MAX (1u << 20)

_Static_assert(SQL_PART_BYTES + STAGE_HEAD_MAX <= BND_RAFT_COMMAND_MAX, "a part is one command");
_Static_assert((uint64_t)SQL_PARTS_MAX *SQL_PART_BYTES >=
                   SQL_CHANGE_SET_MAX + SQL_CHANGE_SET_MAX / 128 + SQL_ANSWER_KEPT_MAX,
               "what does not compress grows by less than 1/128, and has room");

static void *context_alloc(void *opaque, size_t bytes) {
    (void)opaque;
    return bnd_alloc(bytes);
}

static void context_free(void *opaque, void *memory) {
    (void)opaque;
    bnd_free(memory);
}

static const ZSTD_customMem context_memory = {.customAlloc = context_alloc,
                                              .customFree = context_free};

struct sql_packer {
    uint32_t whole_bytes, part_bytes;
    ZSTD_CCtx *context;
    struct bnd_buf packed;
};

struct sql_unpacker {
    ZSTD_DCtx *context;
};

int sql_packer_create(struct sql_packer **out) {
    struct sql_packer *packer = bnd_zalloc(sizeof *packer);
    if (packer == NULL) {
        return BND_NOMEM;
    }
    packer->context = ZSTD_createCCtx_advanced(context_memory);
    if (packer->context == NULL) {
        bnd_free(packer);
        return BND_NOMEM;
    }
    (void)ZSTD_CCtx_setParameter(packer->context, ZSTD_c_compressionLevel, LEVEL); /* in range */
    packer->whole_bytes = BND_RAFT_COMMAND_MAX - SQL_COMMIT_HEAD_BYTES;
    packer->part_bytes = SQL_PART_BYTES;
    *out = packer;
    return 0;
}

void sql_packer_cut_at(struct sql_packer *packer, uint32_t bytes) {
    packer->whole_bytes = bytes;
    packer->part_bytes = bytes;
}

void sql_packer_destroy(struct sql_packer *packer) {
    if (packer != NULL) {
        (void)ZSTD_freeCCtx(packer->context); /* no code */
        bnd_buf_free(&packer->packed);
        bnd_free(packer);
    }
}

/* The answer stands behind the pages while both are compressed as one. */
static int pack(struct sql_packer *packer, struct bnd_buf *pages, struct bnd_slice answer) {
    size_t pages_len = pages->len;
    bnd_buf_append_slice(pages, answer);
    size_t bound = ZSTD_compressBound(pages->len);
    bnd_buf_reset(&packer->packed);
    if (pages->failed || !bnd_buf_reserve(&packer->packed, bound)) {
        return BND_NOMEM;
    }
    size_t len =
        ZSTD_compress2(packer->context, packer->packed.data, bound, pages->data, pages->len);
    pages->len = pages_len;
    if (ZSTD_isError(len)) {
        return BND_NOMEM; /* nothing else can go wrong with room for the worst case */
    }
    packer->packed.len = len;
    return 0;
}

/* Appends a command behind its length. */
static void append(struct bnd_buf *out, const struct sql_command *command) {
    size_t at = out->len;
    bnd_buf_u32(out, 0);
    sql_command_encode(out, command);
    if (!out->failed) {
        bnd_put_u32(out->data + at, (uint32_t)(out->len - at - 4));
    }
}

static uint32_t append_parts(struct bnd_buf *out, const struct sql_command *commit,
                             struct bnd_slice packed, size_t part_bytes) {
    struct sql_command part = {.op = SQL_STAGE};
    memcpy(part.uuid, commit->uuid, sizeof part.uuid);
    part.u.stage.number = commit->u.commit.number;
    memcpy(part.u.stage.attempt, commit->u.commit.attempt, sizeof part.u.stage.attempt);
    uint32_t count = 0;
    for (size_t at = 0; at < packed.len; at += part_bytes) {
        size_t left = packed.len - at;
        part.u.stage.part = count++;
        part.u.stage.bytes = bnd_slice(packed.data + at, left < part_bytes ? left : part_bytes);
        append(out, &part);
    }
    BND_ASSERT(count <= SQL_PARTS_MAX);
    return count;
}

int sql_packer_commit(struct sql_packer *packer, const uint8_t uuid[BND_SQL_UUID_BYTES],
                      const struct sql_commit *header, struct sql_change_set *set,
                      struct bnd_slice answer, struct bnd_buf *out, uint32_t *out_count) {
    BND_ASSERT(answer.len <= SQL_ANSWER_KEPT_MAX);
    if (set->pages.failed) {
        return BND_NOMEM;
    }
    if (set->pages.len > SQL_CHANGE_SET_MAX) {
        return BND_TOOBIG;
    }
    int rv = pack(packer, &set->pages, answer);
    if (rv != 0) {
        return rv;
    }
    struct bnd_slice packed = bnd_buf_slice(&packer->packed);
    struct sql_command command = {.op = SQL_COMMIT, .u.commit = *header};
    struct sql_commit *commit = &command.u.commit;
    memcpy(command.uuid, uuid, sizeof command.uuid);
    commit->pages_count = set->count;
    commit->pages_bytes = (uint32_t)set->pages.len;
    commit->answer_bytes = (uint32_t)answer.len;
    commit->staged = 0;
    commit->packed = packed;
    bnd_buf_reset(out);
    if (packed.len > packer->whole_bytes) {
        commit->staged = append_parts(out, &command, packed, packer->part_bytes);
        commit->packed = bnd_slice(NULL, 0);
    }
    append(out, &command);
    if (packer->packed.cap > KEPT_BYTES_MAX) {
        bnd_buf_free(&packer->packed);
    }
    if (out->failed) {
        return BND_NOMEM;
    }
    *out_count = commit->staged + 1;
    return 0;
}

int sql_unpacker_create(struct sql_unpacker **out) {
    struct sql_unpacker *unpacker = bnd_zalloc(sizeof *unpacker);
    if (unpacker == NULL) {
        return BND_NOMEM;
    }
    unpacker->context = ZSTD_createDCtx_advanced(context_memory);
    if (unpacker->context == NULL) {
        bnd_free(unpacker);
        return BND_NOMEM;
    }
    *out = unpacker;
    return 0;
}

void sql_unpacker_destroy(struct sql_unpacker *unpacker) {
    if (unpacker != NULL) {
        (void)ZSTD_freeDCtx(unpacker->context); /* no code */
        bnd_free(unpacker);
    }
}

int sql_unpack(struct sql_unpacker *unpacker, struct bnd_slice packed, size_t bytes,
               struct bnd_buf *out) {
    /* One frame, so that bytes of it that nobody reads cannot tell commands apart. */
    size_t frame = ZSTD_findFrameCompressedSize(packed.data, packed.len);
    if (ZSTD_isError(frame) || frame != packed.len) {
        return BND_INVALID;
    }
    if (!bnd_buf_reserve(out, bytes + 1)) { /* also for none: a place to point to */
        return BND_NOMEM;
    }
    size_t got = ZSTD_decompressDCtx(unpacker->context, out->data + out->len, bytes, packed.data,
                                     packed.len);
    if (ZSTD_isError(got)) {
        return ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation ? BND_NOMEM : BND_INVALID;
    }
    if (got != bytes) {
        return BND_INVALID;
    }
    out->len += bytes;
    return 0;
}
