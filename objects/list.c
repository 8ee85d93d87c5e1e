/* Pages over all shards: objects, and uploads in parts.
 *
 * Every shard asked must answer, or the page is an error. A page that came out short because one
 * shard's answer was cut is filled by asking again behind its last item, a bounded number of times.
 */
#include "objects/merge.h"
#include "objects/objects_private.h"

#include "base/alloc.h"
#include "base/assert.h"

enum { ROUNDS_MAX = 8, CURSOR_KEY = 'k', CURSOR_PREFIX = 'p' };

struct list_op {
    struct objects_op op;
    struct bnd_object_list *list; /* one of the two */
    struct bnd_multipart_uploads *uploads;
    uint32_t limit;
    unsigned rounds;
    int status;
    struct bnd_buf text;        /* prefix, delimiter, after, upload id, joined */
    struct objects_query query; /* over text */
    uint8_t after_id[BND_OBJECT_ID_BYTES];
    struct objects_answer *answers; /* one per call */
    uint64_t first_gid;
    struct objects_merge merge;
};

static void list_answered(struct objects_op *op, size_t call, int status, struct bnd_slice reply) {
    struct list_op *list = (struct list_op *)op;
    if (status == 0) {
        status = objects_answer_set(&list->answers[call], reply);
    }
    if (status != 0 && list->status == 0) {
        list->status = status;
    }
}

static void list_tell(struct list_op *list, int status);

/* Asks every shard for what comes after. */
static int list_ask(struct list_op *list) {
    int rv = 0;
    list->query.limit = list->limit - list->merge.count;
    for (size_t i = 0; rv == 0 && i < list->op.calls_count; i++) {
        rv = objects_op_query(&list->op, i, list->first_gid + i, &list->query);
    }
    return rv;
}

/* The next round goes on behind the last item of the page so far. */
static int list_go_on(struct list_op *list) {
    struct objects_item last;
    struct bnd_reader r = bnd_reader(bnd_slice(list->merge.items.data + list->merge.last,
                                               list->merge.items.len - list->merge.last));
    bool decoded = objects_item_next(&r, &last);
    BND_ASSERT(decoded); /* encoded by the merge */
    struct bnd_buf text = {0};
    bnd_buf_append_slice(&text, list->query.prefix);
    bnd_buf_append_slice(&text, list->query.delimiter);
    bnd_buf_append_slice(&text, last.key);
    if (text.failed) {
        return BND_NOMEM;
    }
    size_t prefix = list->query.prefix.len;
    size_t delimiter = list->query.delimiter.len;
    list->query.prefix = bnd_slice(text.data, prefix);
    list->query.delimiter = bnd_slice(text.data + prefix, delimiter);
    list->query.after = bnd_slice(text.data + prefix + delimiter, last.key.len);
    list->query.after_prefix = last.is_prefix;
    list->query.upload_id = NULL;
    if (list->uploads != NULL && !last.is_prefix) {
        memcpy(list->after_id, last.value.data, BND_OBJECT_ID_BYTES);
        list->query.upload_id = list->after_id;
    }
    bnd_buf_free(&list->text);
    list->text = text;
    return list_ask(list);
}

static void list_finish(struct objects_op *op) {
    struct list_op *list = (struct list_op *)op;
    int rv = list->status;
    if (rv == 0) {
        rv = objects_merge(&list->merge, list->answers, op->calls_count, list->limit);
    }
    bool full = list->merge.count == list->limit || list->merge.count == 0;
    if (rv == 0 && list->merge.truncated && !full && ++list->rounds < ROUNDS_MAX) {
        rv = list_go_on(list);
        if (op->waiting > 0) {
            list->status = rv; /* told once those sent are answered */
            return;
        }
    }
    list_tell(list, rv);
}

static void list_cancel(struct objects_op *op, int status) {
    list_tell((struct list_op *)op, status);
}

static void list_free(struct objects_op *op) {
    struct list_op *list = (struct list_op *)op;
    for (size_t i = 0; list->answers != NULL && i < op->calls_count; i++) {
        objects_answer_free(&list->answers[i]);
    }
    bnd_free(list->answers);
    bnd_buf_free(&list->text);
    bnd_buf_free(&list->merge.items);
}

/* ---- telling the user -------------------------------------------------------------------------
 */

static int tell_objects(struct list_op *list) {
    struct bnd_list_page page = {.count = list->merge.count, .truncated = list->merge.truncated};
    BND_AUTO struct bnd_list_item *items = bnd_calloc(page.count + 1, sizeof *items);
    uint8_t cursor[BND_OBJECT_CURSOR_MAX];
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&list->merge.items));
    struct objects_item item = {0};
    if (items == NULL) {
        return BND_NOMEM;
    }
    for (size_t i = 0; i < page.count && objects_item_next(&r, &item); i++) {
        items[i] = (struct bnd_list_item){
            .key = item.key, .is_prefix = item.is_prefix, .manifest = item.value};
    }
    page.items = items;
    if (page.truncated && page.count > 0) {
        cursor[0] = item.is_prefix ? CURSOR_PREFIX : CURSOR_KEY;
        memcpy(cursor + 1, item.key.data, item.key.len);
        page.cursor = bnd_slice(cursor, 1 + item.key.len);
    }
    list->op.objects->stats.lists++;
    list->list->cb(list->list, 0, &page);
    return 0;
}

static int tell_uploads(struct list_op *list) {
    struct bnd_multipart_uploads_page page = {.count = list->merge.count,
                                              .truncated = list->merge.truncated};
    BND_AUTO struct bnd_multipart_upload *uploads = bnd_calloc(page.count + 1, sizeof *uploads);
    struct bnd_reader r = bnd_reader(bnd_buf_slice(&list->merge.items));
    struct objects_item item = {0};
    if (uploads == NULL) {
        return BND_NOMEM;
    }
    for (size_t i = 0; i < page.count && objects_item_next(&r, &item); i++) {
        struct objects_upload_record record;
        uploads[i].key = item.key;
        uploads[i].is_prefix = item.is_prefix;
        if (item.is_prefix) {
            continue;
        }
        struct bnd_reader value = bnd_reader(item.value);
        struct bnd_slice id = bnd_read_raw(&value, BND_OBJECT_ID_BYTES);
        if (value.failed || objects_upload_decode(value.rest, &record) != 0) {
            return BND_CORRUPT;
        }
        memcpy(uploads[i].upload_id, id.data, id.len);
        uploads[i].initiated_ms = record.initiated_ms;
        uploads[i].storage_class = record.fields.storage_class;
    }
    page.uploads = uploads;
    list->uploads->cb(list->uploads, 0, &page);
    return 0;
}

static void list_tell(struct list_op *list, int status) {
    if (status == 0) {
        status = list->uploads != NULL ? tell_uploads(list) : tell_objects(list);
    }
    if (status == 0) {
        return;
    }
    if (list->uploads != NULL) {
        list->uploads->cb(list->uploads, status, NULL);
    } else {
        list->list->cb(list->list, status, NULL);
    }
}

int bnd_list_item_meta(const struct bnd_list_item *item, struct bnd_object_meta *out) {
    struct bnd_slice body;
    return objects_manifest_decode(item->manifest, out, &body);
}

/* ---- starting ---------------------------------------------------------------------------------
 */

static int list_texts(struct list_op *list, const struct objects_query *query) {
    bnd_buf_append_slice(&list->text, query->prefix);
    bnd_buf_append_slice(&list->text, query->delimiter);
    bnd_buf_append_slice(&list->text, query->after);
    bnd_buf_u8(&list->text, 0); /* so that there is memory, and no slice is NULL */
    if (list->text.failed) {
        return BND_NOMEM;
    }
    list->query = *query;
    const uint8_t *text = list->text.data;
    list->query.prefix = bnd_slice(text, query->prefix.len);
    list->query.delimiter = bnd_slice(text + query->prefix.len, query->delimiter.len);
    list->query.after =
        bnd_slice(text + query->prefix.len + query->delimiter.len, query->after.len);
    if (query->upload_id != NULL) {
        memcpy(list->after_id, query->upload_id, BND_OBJECT_ID_BYTES);
        list->query.upload_id = list->after_id;
    }
    return 0;
}

static int list_start(struct bnd_objects *objects, struct bnd_bucket_ref bucket,
                      const struct objects_query *query, struct list_op **out) {
    int rv = 0;
    if (query->prefix.len > BND_OBJECT_KEY_MAX || query->delimiter.len > BND_OBJECT_KEY_MAX ||
        query->after.len > BND_OBJECT_KEY_MAX || query->limit == 0 ||
        query->limit > BND_OBJECT_LIST_MAX) {
        return BND_INVALID;
    }
    uint64_t gid = bnd_gid(BND_GROUP_OBJECTS, 0);
    bool one = bnd_object_prefix_gid(bucket.id, bucket.segments, query->prefix,
                                     objects->config.shards, &gid);
    size_t calls = one ? 1 : objects->config.shards;
    struct list_op *op = objects_op_create(objects, sizeof *op, calls, &rv);
    if (op == NULL) {
        return rv;
    }
    op->op.answered = list_answered;
    op->op.finish = list_finish;
    op->op.cancel = list_cancel;
    op->op.free = list_free;
    op->limit = query->limit;
    op->first_gid = gid;
    op->answers = bnd_calloc(calls, sizeof *op->answers);
    rv = op->answers == NULL ? BND_NOMEM : list_texts(op, query);
    rv = rv == 0 ? list_ask(op) : rv;
    if (rv != 0) {
        objects_op_drop(&op->op);
        return rv;
    }
    *out = op;
    return 0;
}

static int list_cursor(struct bnd_slice cursor, struct objects_query *query) {
    if (cursor.len < 2 || cursor.len > BND_OBJECT_CURSOR_MAX ||
        (cursor.data[0] != CURSOR_KEY && cursor.data[0] != CURSOR_PREFIX)) {
        return BND_INVALID;
    }
    query->after = bnd_slice(cursor.data + 1, cursor.len - 1);
    query->after_prefix = cursor.data[0] == CURSOR_PREFIX;
    return 0;
}

int bnd_object_list(struct bnd_objects *objects, struct bnd_object_list *list,
                    const struct bnd_list_options *options) {
    struct objects_query query = {
        .kind = OBJECTS_LIST,
        .bucket = options->bucket.id,
        .limit = options->limit,
        .include = options->include,
        .prefix = options->prefix,
        .delimiter = options->delimiter,
        .after = options->after,
        .after_prefix = options->after_prefix,
    };
    struct list_op *op = NULL;
    int rv = options->cursor.len > 0 ? list_cursor(options->cursor, &query) : 0;
    rv = rv == 0 ? list_start(objects, options->bucket, &query, &op) : rv;
    if (rv == 0) {
        op->list = list;
    }
    return rv;
}

int bnd_multipart_uploads(struct bnd_objects *objects, struct bnd_multipart_uploads *uploads,
                          const struct bnd_multipart_uploads_options *options) {
    struct objects_query query = {
        .kind = OBJECTS_UPLOADS,
        .bucket = options->bucket.id,
        .limit = options->limit,
        .prefix = options->prefix,
        .delimiter = options->delimiter,
        .after = options->after_key,
        .after_prefix = options->after_prefix,
        .upload_id = options->after_upload,
    };
    struct list_op *op = NULL;
    int rv = list_start(objects, options->bucket, &query, &op);
    if (rv == 0) {
        op->uploads = uploads;
    }
    return rv;
}
