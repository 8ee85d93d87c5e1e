/* PUT of the file of an import, under the URL that its announcement was answered with: a small one
 * into memory, a larger one onto disk as it comes. Nothing happens with it before it is ingested.
 *
 *   small:  read ──> take ──> read ...            ──> compare MD5 ──> ETag
 *   large:  open ──> read ──> write to disk ──> read ... ──> compare
 */
#include "gateway/cf/d1.h"

#include "base/alloc.h"
#include "gateway/d1/files.h"
#include "gateway/d1/spool.h"
#include "gateway/s3/hash.h"

#define MD5_LEN 16

struct put_op {
    struct d1_file *file;
    EVP_MD_CTX *md5;
    struct bnd_http_read read;
    struct bnd_http_chunk *chunk; /* on its way to the disk */
};

static void clean_put(struct rest_request *request) {
    struct put_op *op = request->data;
    op->file->busy = false;
    EVP_MD_CTX_free(op->md5);
    bnd_free(op);
}

static void reply_etag(struct rest_request *request, const char *etag) {
    char quoted[D1_ETAG_TEXT + 2];
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", etag); /* fits */
    const struct bnd_http_header headers[] = {
        {bnd_slice_str("ETag"), bnd_slice_str(quoted)},
        {bnd_slice_str("X-Bindery-Request-Id"), bnd_slice_str(request->id)},
    };
    const struct bnd_http_response response = {
        .status = 200, .headers = headers, .header_count = 2};
    if (bnd_http_respond(request->http, &response) != 0) {
        bnd_http_abort(request->http);
    }
    rest_release(request);
}

static void end_put(struct rest_request *request) {
    struct put_op *op = request->data;
    uint8_t md5[MD5_LEN];
    char text[2 * MD5_LEN + 1];
    int ok = EVP_DigestFinal_ex(op->md5, md5, NULL);
    bnd_hex_encode(md5, sizeof md5, text);
    if (ok != 1 || strcmp(text, op->file->etag) != 0) {
        d1_file_clear(&request->rest->files, op->file);
        rest_fail(request, 400, D1_MALFORMED,
                  "the file is not the one that was announced: its MD5 is another");
        return;
    }
    op->file->whole = true;
    reply_etag(request, text);
}

static void fail_put(struct rest_request *request, int status) {
    struct put_op *op = request->data;
    d1_file_clear(&request->rest->files, op->file);
    if (status == BND_NOSPACE) {
        rest_fail(request, 507, D1_UNAVAILABLE,
                  "The disk of the node that was asked has no room for the file");
    } else if (status == BND_TOOBIG) {
        rest_fail(request, 411, D1_MALFORMED,
                  "Files above 4 MiB are taken with a Content-Length only");
    } else {
        cf_d1_fail(request, status);
    }
}

static void read_on(struct rest_request *request) {
    struct put_op *op = request->data;
    bnd_http_body_read(request->http, &op->read);
}

/* ---- onto disk
 * ------------------------------------------------------------------------------------------------
 */

/* Opened, or a piece is written. */
static void on_spool(struct d1_spool *spool, int status, struct bnd_slice bytes) {
    struct rest_request *request = spool->data;
    struct put_op *op = request->data;
    (void)bytes; /* of reads */
    if (op->chunk != NULL) {
        bnd_http_chunk_release(op->chunk);
        op->chunk = NULL;
    }
    if (status != 0) {
        fail_put(request, status);
    } else {
        read_on(request);
    }
}

static int open_spool(struct rest_request *request, uint64_t length) {
    struct put_op *op = request->data;
    const struct d1_spool config = {.env = request->services->env,
                                    .dir = request->services->dir,
                                    .bytes_max = length,
                                    .to_come = d1_files_to_come(&request->rest->files),
                                    .cb = on_spool,
                                    .data = request};
    return config.dir == NULL ? BND_UNSUPPORTED : d1_spool_open(&config, &op->file->spool);
}

/* ---- pieces
 * ------------------------------------------------------------------------------------------------
 */

/* Takes the chunk. */
static void take(struct rest_request *request, struct bnd_http_chunk *chunk) {
    struct put_op *op = request->data;
    int rv = EVP_DigestUpdate(op->md5, chunk->bytes.data, chunk->bytes.len) == 1 ? 0 : BND_NOMEM;
    if (rv == 0 && op->file->spool != NULL) {
        op->chunk = chunk;
        rv = d1_spool_write(op->file->spool, chunk->bytes);
        if (rv == 0) {
            return; /* it goes on when it is written */
        }
        op->chunk = NULL;
    } else if (rv == 0) {
        rv = d1_file_take(&request->rest->files, op->file, chunk->bytes);
    }
    bnd_http_chunk_release(chunk);
    if (rv != 0) {
        fail_put(request, rv);
    } else {
        read_on(request);
    }
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct rest_request *request = read->data;
    struct put_op *op = request->data;
    if (status != 0) {
        d1_file_clear(&request->rest->files, op->file);
        rest_abort(request);
    } else if (chunk == NULL) {
        end_put(request);
    } else {
        take(request, chunk);
    }
}

/* ---- beginning
 * ------------------------------------------------------------------------------------------------
 */

static bool begin_put(struct rest_request *request, struct d1_file *file) {
    struct put_op *op = bnd_zalloc(sizeof *op);
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    if (op == NULL || md5 == NULL || EVP_DigestInit_ex(md5, s3_hash(BND_CHECKSUM_MD5), NULL) != 1) {
        EVP_MD_CTX_free(md5);
        bnd_free(op);
        rest_fail_code(request, BND_NOMEM);
        return false;
    }
    op->file = file;
    op->md5 = md5;
    op->read =
        (struct bnd_http_read){.cb = on_piece, .data = request, .bytes_min = BND_HTTP_CHUNK_BYTES};
    file->busy = true;
    request->data = op;
    request->clean = clean_put;
    d1_file_clear(&request->rest->files, file);
    return true;
}

/* Whoever has the URL may put the file. */
void cf_d1_run_file_put(struct rest_request *request) {
    const struct bnd_http_head *head = request->http->head;
    struct d1_file *file = cf_d1_file(request, true);
    if (file == NULL) {
        return;
    }
    if (head->has_content_length && head->content_length > D1_IMPORT_BYTES_MAX) {
        rest_fail(request, 413, D1_MALFORMED, "Files above 5 GiB cannot be imported");
        return;
    }
    if (!begin_put(request, file)) {
        return;
    }
    if (!head->has_content_length || head->content_length <= D1_IMPORT_MEMORY_MAX) {
        read_on(request);
        return;
    }
    int rv = open_spool(request, head->content_length);
    if (rv != 0) {
        fail_put(request, rv);
    }
}
